"""Ours against plain re-statements of the forms that published codes use: ratios side by side, never an assertion on time.

`make bench-code` prints them. Equality of the results is asserted first.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tests.bench
from harness.logits import Logits
from harness.regions import non_maximum_suppression, rescale, window_sum
from harness.views import View
from strategies.fusion import g2
from strategies.measures import entropy, vote_entropy

HEIGHT, WIDTH, WINDOW = (1024, 2048, 128) if tests.bench.FULL_SIZE else (128, 256, 32)


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
    product = torch.fft.rfft2(pixels.double(), size) * torch.fft.rfft2(
        torch.ones(WINDOW, WINDOW).double(), size
    )
    return torch.fft.irfft2(product, size)[WINDOW - 1 : HEIGHT, WINDOW - 1 : WIDTH]


def integral_of_floats(pixels: torch.Tensor) -> torch.Tensor:
    integral = F.pad(pixels.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    return (
        integral[WINDOW:, WINDOW:]
        - integral[:-WINDOW, WINDOW:]
        - integral[WINDOW:, :-WINDOW]
        + integral[:-WINDOW, :-WINDOW]
    )


@pytest.mark.benchmark(group="window sums, w = 128")
@pytest.mark.parametrize("form", ["ours", "float64 cumsum", "fft", "conv2d"])
def test_window_sums(benchmark, pixels, form):
    forms = {
        "ours": lambda: window_sum(pixels, WINDOW),
        "float64 cumsum": lambda: integral_of_floats(pixels),
        "fft": lambda: fast_fourier(pixels),
        "conv2d": lambda: dense_convolution(pixels),
    }
    # float32 sums of 16,384 values in [0, 1] carry an absolute error of about 0.01
    assert torch.allclose(forms[form]().double(), forms["ours"](), atol=0.05)
    benchmark.pedantic(
        forms[form], rounds=1 if form == "conv2d" else 5, warmup_rounds=0 if form == "conv2d" else 1
    )


def greedy_over_the_whole_map(scores: np.ndarray) -> list[tuple[int, int]]:
    left = scores.copy()
    found = []
    while left.max() > -np.inf:
        y, x = divmod(int(left.argmax()), left.shape[1])
        found.append((y, x))
        left[max(0, y - WINDOW + 1) : y + WINDOW, max(0, x - WINDOW + 1) : x + WINDOW] = -np.inf
    return found


def sorted_dictionaries(scores: np.ndarray) -> list[tuple[int, int]]:
    """One dictionary for each window, one sort, each one against all that were taken: the form of published region codes."""
    rows, cols = scores.shape
    windows = [
        {"score": float(scores[y, x]), "y": y, "x": x} for y in range(rows) for x in range(cols)
    ]
    windows.sort(key=lambda window: (-window["score"], window["y"], window["x"]))
    taken: list[tuple[int, int]] = []
    for window in windows:
        if all(abs(window["y"] - y) >= WINDOW or abs(window["x"] - x) >= WINDOW for y, x in taken):
            taken.append((window["y"], window["x"]))
    return taken


@pytest.fixture(scope="module")
def region_maps() -> tuple[torch.Tensor, torch.Tensor]:
    """Information and cost of all windows of an image, scaled: smooth, as window sums are."""
    maps = torch.rand((2, HEIGHT // 16, WIDTH // 16), generator=torch.Generator().manual_seed(3))
    full = F.interpolate(maps[None], size=(HEIGHT, WIDTH), mode="bicubic")[0].clamp(min=0)
    information, cost = (window_sum(one, WINDOW) for one in full)
    return information, cost


@pytest.mark.benchmark(group="selection of one image from its two region maps, w = 128")
@pytest.mark.parametrize("form", ["ours", "greedy over the whole map", "sort and dictionaries"])
def test_selection(benchmark, region_maps, form):
    information, cost = (rescale(one, float(one.min()), float(one.max())) for one in region_maps)
    forms = {
        "ours": lambda: [
            (p.top, p.left) for p in non_maximum_suppression(g2(information, cost), WINDOW)
        ],
        "greedy over the whole map": lambda: greedy_over_the_whole_map(
            g2(information, cost).numpy()
        ),
        "sort and dictionaries": lambda: sorted_dictionaries(g2(information, cost).numpy()),
    }
    slow = form == "sort and dictionaries"
    assert slow or forms["ours"]() == forms[form]()
    picks = benchmark.pedantic(forms[form], rounds=1 if slow else 5, warmup_rounds=0 if slow else 1)
    assert picks == forms["ours"]()


@pytest.mark.benchmark(group="sums, scaling, fusion, selection of one image")
@pytest.mark.parametrize(
    "form", ["ours", "reading both pixel maps once", "reading and writing both region maps once"]
)
def test_one_image(benchmark, pixels, form):
    cost = pixels.flip(0).contiguous()
    kept = [window_sum(pixels, WINDOW), window_sum(cost, WINDOW)]

    def ours() -> list[object]:
        maps = [window_sum(one, WINDOW) for one in (pixels, cost)]
        information, price = (rescale(one, float(one.min()), float(one.max())) for one in maps)
        return non_maximum_suppression(g2(information, price), WINDOW)

    forms = {
        "ours": ours,
        "reading both pixel maps once": lambda: (float(pixels.sum()), float(cost.sum())),
        "reading and writing both region maps once": lambda: [one.clone() for one in kept],
    }
    benchmark.pedantic(forms[form], rounds=5, warmup_rounds=1)


def smooth_logits(seed: int) -> Logits:
    """Scores as a network gives them: neighbouring cells mostly agree."""
    coarse = (
        torch.randn(
            (1, 19, HEIGHT // 64, WIDTH // 64), generator=torch.Generator().manual_seed(seed)
        )
        * 4
    )
    return Logits(
        F.interpolate(coarse, size=(HEIGHT // 8, WIDTH // 8), mode="bicubic")[0], (HEIGHT, WIDTH)
    )


@pytest.mark.benchmark(group="logits at stride 8 to entropy")
@pytest.mark.parametrize(
    "form", ["ours, by strips", "ours, new memory for each strip", "separate operations"]
)
def test_entropy(benchmark, form):
    logits = smooth_logits(1)

    def anew() -> torch.Tensor:
        rows = []
        for _, values in logits.strips():
            shifted = values - values.amax(0)
            exponentials = shifted.exp()
            total = exponentials.sum(0)
            rows.append(total.log() - (exponentials * shifted).sum(0) / total)
        return torch.cat(rows).clamp_(min=0.0)

    def separate() -> torch.Tensor:
        probabilities = F.interpolate(
            logits.values[None], size=logits.size, mode="bilinear", align_corners=False
        ).softmax(1)[0]
        return -(probabilities * torch.log(probabilities + 1e-12)).sum(0)

    assert torch.equal(logits.entropy(), anew())
    assert torch.allclose(logits.entropy(), separate(), atol=1e-4)
    forms = {"ours, by strips": logits.entropy, "separate operations": separate}
    benchmark.pedantic(forms.get(form, anew), rounds=7, warmup_rounds=1)


@pytest.mark.benchmark(group="logits at stride 8 to the winning class")
@pytest.mark.parametrize("form", ["ours, by cells", "full map"])
def test_winners(benchmark, form):
    logits = smooth_logits(2)

    def full() -> torch.Tensor:
        return F.interpolate(
            logits.values[None], size=logits.size, mode="bilinear", align_corners=False
        )[0].argmax(0)

    # another class wins only where two scores agree to float32 rounding
    assert float((logits.winners() == full()).float().mean()) > 0.9999
    benchmark.pedantic(
        logits.winners if form == "ours, by cells" else full, rounds=3, warmup_rounds=1
    )


COMMITTEE = 20


@pytest.fixture(scope="module")
def network():
    """FCN8s x 0.25 in inference, and features of one photograph."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    import harness.segmentor  # noqa: F401  registers FCN8s
    from harness.config import config_path
    from harness.segmentor.fcn8s import draw_weights, scaled

    init_default_scope("mmseg")
    model = Config.fromfile(str(config_path("_base_/fcn8s"))).model.to_dict()
    model["backbone"]["width"] = 0.25
    model["decode_head"] |= {
        "in_channels": [scaled(base, 0.25) for base in (256, 512, 512)],
        "channels": 1024,
    }
    built = MODELS.build(model)
    draw_weights(built, 0)
    return built.eval().to(memory_format=torch.channels_last)


@pytest.mark.benchmark(group="FCN8s x 0.25, one image")
@pytest.mark.parametrize(
    "form", ["entropy, plain", "committee of 20, ours", "committee of 20 full forwards"]
)
@torch.no_grad()
def test_committee(benchmark, network, form):
    photo = torch.randn(
        (1, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(4)
    ).contiguous(memory_format=torch.channels_last)
    head, generator = network.decode_head, torch.Generator()

    def plain() -> torch.Tensor:
        return entropy(View(iter([Logits(head(network.extract_feat(photo))[0], (HEIGHT, WIDTH))])))

    def ours() -> torch.Tensor:
        state = head.prefix(network.extract_feat(photo))
        generator.manual_seed(0)
        return vote_entropy(
            View(
                Logits(head.committee(state, head.masks(state, 1, generator))[0], (HEIGHT, WIDTH))
                for _ in range(COMMITTEE)
            )
        )

    def full_forwards() -> torch.Tensor:
        generator.manual_seed(0)
        votes = torch.zeros((19, HEIGHT, WIDTH))
        for _ in range(COMMITTEE):
            state = head.prefix(network.extract_feat(photo))
            logits = head.committee(state, head.masks(state, 1, generator))
            winner = (
                F.interpolate(logits, size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)
                .softmax(1)
                .argmax(1)
            )
            votes += F.one_hot(winner[0], 19).permute(2, 0, 1)
        shares = votes / COMMITTEE
        return -(shares * torch.log(shares + 1e-12)).sum(0)

    forms = {
        "entropy, plain": plain,
        "committee of 20, ours": ours,
        "committee of 20 full forwards": full_forwards,
    }
    result = benchmark.pedantic(
        forms[form],
        rounds=1 if form.endswith("forwards") else 2,
        warmup_rounds=0 if form.endswith("forwards") else 1,
    )
    if form.endswith("forwards"):
        # another class wins only where two scores agree to float32 rounding
        assert float(((result - ours()).abs() < 1e-4).float().mean()) > 0.999
