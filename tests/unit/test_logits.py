import itertools
import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from harness.logits import Logits, upsample
from harness.views import View
from harness.votes import Votes
from strategies.measures import entropy, vote_entropy
from tests.examples import examples


def separate_operations(logits: Logits) -> torch.Tensor:
    full = F.interpolate(
        logits.values[None].double(), size=logits.size, mode="bilinear", align_corners=False
    )[0]
    probabilities = full.softmax(0)
    return -torch.xlogy(probabilities, probabilities).sum(0)


def random_logits(
    seed: int, classes: int, cells: tuple[int, int], size: tuple[int, int], spread: float = 3.0
) -> Logits:
    return Logits(
        torch.randn((classes, *cells), generator=torch.Generator().manual_seed(seed)) * spread, size
    )


@examples(80)
@given(
    st.integers(0, 10**6),
    st.integers(2, 19),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_strips_equal_separate_operations(seed, classes, cells, size):
    logits = random_logits(seed, classes, cells, size)
    # float32 sums of at most 19 terms against float64
    assert torch.allclose(logits.entropy().double(), separate_operations(logits), atol=5e-5)
    assert float(logits.entropy().min()) >= 0
    assert float(logits.entropy().max()) <= math.log(classes) + 1e-5


@examples(80)
@given(
    st.integers(0, 10**6),
    st.integers(2, 19),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_winners_equal_the_full_map(seed, classes, cells, size):
    logits = random_logits(seed, classes, cells, size)
    full = F.interpolate(
        logits.values[None].double(), size=size, mode="bilinear", align_corners=False
    )[0]
    best = full.max(0)
    ours = logits.winners()
    # another class may win only where the two scores agree to float32 rounding
    assert bool((best.values - full.gather(0, ours[None].long())[0] < 1e-5).all())


def test_downsampling_sizes_are_handled():
    logits = random_logits(0, 4, (8, 8), (4, 4))
    assert logits.winners().shape == (4, 4)
    assert torch.allclose(logits.entropy().double(), separate_operations(logits), atol=5e-5)


def test_strips_cover_each_row_once(monkeypatch):
    monkeypatch.setattr("harness.logits._STRIP_VALUES", 5 * 33 * 7)
    logits = random_logits(1, 5, (6, 5), (40, 33))
    rows = [(part.start, part.stop) for part, _ in logits.strips()]
    assert rows[0][0] == 0
    assert rows[-1][1] == 40
    assert all(one[1] == other[0] for one, other in itertools.pairwise(rows))
    assert torch.allclose(
        torch.cat([values for _, values in logits.strips()], dim=1),
        upsample(logits.values, (40, 33)),
        atol=1e-5,
    )


@pytest.mark.parametrize("size", [(40, 33), (6, 5), (41, 33)])
def test_entropy_in_memory_that_is_taken_once_is_the_same_to_the_last_bit(size, monkeypatch):
    monkeypatch.setattr("harness.logits._STRIP_VALUES", 5 * 33 * 7)
    logits = random_logits(1, 5, (6, 5), size)
    given = logits.values.clone()
    rows = []
    for _, values in logits.strips():
        shifted = values - values.amax(0)
        total = shifted.exp().sum(0)
        rows.append(total.log() - (shifted.exp() * shifted).sum(0) / total)
    assert torch.equal(logits.entropy(), torch.cat(rows).clamp_(min=0.0))
    assert torch.equal(logits.values, given)


@pytest.mark.parametrize("classes", [3, 19])
def test_measures_take_logits_and_probabilities_alike(classes):
    passes = [random_logits(seed, classes, (4, 6), (30, 45)) for seed in range(6)]
    assert torch.allclose(
        entropy(View(iter(passes))),
        entropy(View(iter([passes[0].probabilities()]))),
        atol=5e-5,
    )
    ours = vote_entropy(View(iter(passes)))
    theirs = vote_entropy(View(iter([item.probabilities() for item in passes])))
    assert float((ours == theirs).double().mean()) > 0.999


def test_memory_stays_bounded_at_full_size():
    """19 classes at 1024 x 2048: the whole map would take 159 MB as float32."""
    import resource

    logits = random_logits(2, 19, (128, 256), (1024, 2048))
    logits.entropy()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    logits.entropy()
    logits.winners()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_committee_of_any_size_stays_bounded_at_full_size():
    """In a process of its own: counts of 19 classes take 41 MB as bytes, the result 17 MB; 20 members' maps would take 3 GB."""
    code = """
import resource
import torch
from harness.logits import Logits
from harness.votes import Votes

torch.set_num_threads(1)

def vote(members, cells):
    votes, generator = Votes(), torch.Generator().manual_seed(0)
    for _ in range(members):
        votes.add(Logits(torch.randn((19, *cells), generator=generator), (8 * cells[0], 8 * cells[1])))
    return votes.entropy()

vote(2, (16, 16))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
vote(5, (128, 256))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    # 58 MB of counts and result, the members' scores, and what the allocator keeps
    assert int(done.stdout) < 80 * 1024


@examples(60)
@given(
    st.integers(0, 10**6),
    st.integers(2, 9),
    st.integers(1, 7),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from([2, 4, 8]),
)
def test_votes_by_cells_equal_votes_by_pixels(seed, classes, members, rows, cols, side):
    scores = torch.randn(
        (members, classes, rows, cols), generator=torch.Generator().manual_seed(seed)
    )
    size = (rows * side, cols * side)
    ours, plain = Votes(), Votes()
    for values in scores:
        logits = Logits(values, size)
        ours.add(logits)
        winner = logits.winners().long()
        plain.add(F.one_hot(winner, classes).permute(2, 0, 1).float())
    assert torch.equal(ours.entropy(), plain.entropy())
