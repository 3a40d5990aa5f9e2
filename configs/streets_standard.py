# The published board on the embedded pack: a larger pool, more rounds, longer trainings. Hours on two cores; it resumes.
_base_ = ["_base_/fcn8s.py", "_base_/streets_protocol.py"]
