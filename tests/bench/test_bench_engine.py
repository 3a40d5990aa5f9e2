"""Ours against plain re-statements of the forms that published codes use: ratios side by side, never an assertion on time.

`make bench-code` prints them. Equality of the results is asserted first.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.logits import Logits
from harness.regions import non_maximum_suppression, window_sum

HEIGHT, WIDTH, WINDOW = 512, 1024, 128


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.rand((HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))


def dense_convolution(pixels: torch.Tensor) -> torch.Tensor:
    return F.conv2d(pixels[None, None], torch.ones(1, 1, WINDOW, WINDOW))[0, 0]


def fast_fourier(pixels: torch.Tensor) -> torch.Tensor:
    size = (HEIGHT + WINDOW - 1, WIDTH + WINDOW - 1)
    product = torch.fft.rfft2(pixels.double(), size) * torch.fft.rfft2(torch.ones(WINDOW, WINDOW).double(), size)
    return torch.fft.irfft2(product, size)[WINDOW - 1 : HEIGHT, WINDOW - 1 : WIDTH]


@pytest.mark.benchmark(group="window sums, w = 128")
@pytest.mark.parametrize("form", ["ours", "fft", "conv2d"])
def test_window_sums(benchmark, pixels, form):
    forms = {"ours": lambda: window_sum(pixels, WINDOW), "fft": lambda: fast_fourier(pixels), "conv2d": lambda: dense_convolution(pixels)}
    # float32 sums of 16,384 values in [0, 1] carry an absolute error of about 0.01
    assert torch.allclose(forms[form]().double(), forms["ours"](), atol=0.05)
    benchmark.pedantic(forms[form], rounds=3, warmup_rounds=1)


def greedy_over_the_whole_map(scores: np.ndarray) -> list[tuple[int, int]]:
    left = scores.copy()
    found = []
    while left.max() > -np.inf:
        y, x = divmod(int(left.argmax()), left.shape[1])
        found.append((y, x))
        left[max(0, y - WINDOW + 1) : y + WINDOW, max(0, x - WINDOW + 1) : x + WINDOW] = -np.inf
    return found


@pytest.mark.benchmark(group="non-maximum suppression, w = 128")
@pytest.mark.parametrize("form", ["ours", "greedy"])
def test_suppression(benchmark, pixels, form):
    scores = window_sum(pixels, WINDOW)
    array = scores.numpy()
    forms = {
        "ours": lambda: [(p.top, p.left) for p in non_maximum_suppression(scores, WINDOW)],
        "greedy": lambda: greedy_over_the_whole_map(array),
    }
    assert forms["ours"]() == forms["greedy"]()
    benchmark.pedantic(forms[form], rounds=3, warmup_rounds=1)


def smooth_logits(seed: int) -> Logits:
    """Scores as a network gives them: neighbouring cells mostly agree."""
    coarse = torch.randn((1, 19, HEIGHT // 64, WIDTH // 64), generator=torch.Generator().manual_seed(seed)) * 4
    return Logits(F.interpolate(coarse, size=(HEIGHT // 8, WIDTH // 8), mode="bicubic")[0], (HEIGHT, WIDTH))


@pytest.mark.benchmark(group="logits at stride 8 to entropy")
@pytest.mark.parametrize("form", ["ours, by strips", "separate operations"])
def test_entropy(benchmark, form):
    logits = smooth_logits(1)

    def separate() -> torch.Tensor:
        probabilities = F.interpolate(logits.values[None], size=logits.size, mode="bilinear", align_corners=False).softmax(1)[0]
        return -(probabilities * torch.log(probabilities + 1e-12)).sum(0)

    assert torch.allclose(logits.entropy(), separate(), atol=1e-4)
    benchmark.pedantic(logits.entropy if form == "ours, by strips" else separate, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="logits at stride 8 to the winning class")
@pytest.mark.parametrize("form", ["ours, by cells", "full map"])
def test_winners(benchmark, form):
    logits = smooth_logits(2)

    def full() -> torch.Tensor:
        return F.interpolate(logits.values[None], size=logits.size, mode="bilinear", align_corners=False)[0].argmax(0)

    # another class wins only where two scores agree to float32 rounding
    assert float((logits.winners() == full()).float().mean()) > 0.9999
    benchmark.pedantic(logits.winners if form == "ours, by cells" else full, rounds=3, warmup_rounds=1)
