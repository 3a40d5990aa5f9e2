#!/bin/bash
#SBATCH --job-name=harness
#SBATCH --array=0-7
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=04:00:00

# A board without a scheduler of its own: each part of the array is one process, which takes runs that nobody has.
#
#   sbatch docs/examples/slurm-array.sh --config camvid --data-root DIR --strategies all --out out-camvid
#
# The folder is shared. A part that has nothing left to do ends; the last one writes the leaderboard. What a walltime cuts off goes on
# at its last checkpoint when the array is submitted again.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
exec harness bench --workers 1 "$@"
