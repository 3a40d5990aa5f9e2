import math

import numpy as np
import pytest
import torch

import strategies
from harness.errors import InputError
from harness.views import View
from strategies.fusion import g1, g2, g3
from strategies.measures import entropy, vote_entropy


def predict(*passes: torch.Tensor) -> View:
    return View(iter(passes))


def one_hot(winners: list[int], classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor([winners]), classes).permute(2, 0, 1).double()


def test_entropy_of_a_uniform_prediction_is_ln_c():
    assert torch.allclose(
        entropy(predict(torch.full((19, 2, 3), 1 / 19, dtype=torch.float64))),
        torch.full((2, 3), math.log(19), dtype=torch.float64),
    )


def test_entropy_of_a_sure_prediction_is_zero_without_nan():
    assert torch.equal(entropy(predict(one_hot([0, 3], 4))), torch.zeros(1, 2, dtype=torch.float64))


def test_entropy_by_hand():
    p = torch.tensor([0.5, 0.25, 0.25]).reshape(3, 1, 1)
    assert float(entropy(predict(p))) == pytest.approx(1.5 * math.log(2))


def test_identical_members_do_not_disagree():
    member = torch.rand((5, 3, 4), generator=torch.Generator().manual_seed(0))
    assert torch.equal(vote_entropy(predict(*[member] * 7)), torch.zeros(3, 4, dtype=torch.float64))


def test_uniform_votes_over_k_classes_give_ln_k():
    members = [one_hot([winner], 5) for winner in (0, 1, 2, 0, 1, 2)]
    assert float(vote_entropy(predict(*members))) == pytest.approx(math.log(3))


@pytest.mark.parametrize(("members", "classes"), [(2, 19), (8, 3), (20, 19)])
def test_vote_entropy_never_exceeds_ln_of_members_or_classes(members, classes):
    generator = torch.Generator().manual_seed(members)
    passes = [torch.rand((classes, 9, 9), generator=generator) for _ in range(members)]
    assert float(vote_entropy(predict(*passes)).max()) <= math.log(min(members, classes)) + 1e-12


def test_a_committee_needs_a_member():
    with pytest.raises(ValueError, match="one pass or more"):
        vote_entropy(predict())


I = torch.rand(200, generator=torch.Generator().manual_seed(3), dtype=torch.float64)  # noqa: E741
C = torch.rand(200, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def test_ranges_of_the_fusions():
    assert bool(((g1(I, C) >= I / 2) & (g1(I, C) <= I)).all())
    assert bool(((g2(I, C) >= 0) & (g2(I, C) <= I)).all())


def test_ends_of_g3():
    assert torch.equal(g3(I, C, 1.0).argsort(), I.argsort())
    assert torch.equal(g3(I, C, 0.0).argsort(descending=True), C.argsort())


@pytest.mark.parametrize("fuse", [g1, g2, lambda i, c: g3(i, c, 0.3)])
def test_a_constant_cost_ranks_by_information(fuse):
    for constant in (0.0, 0.4):
        assert torch.equal(fuse(I, torch.full_like(I, constant)).argsort(), I.argsort())


@pytest.mark.parametrize("fuse", [g1, g2, lambda i, c: g3(i, c, 0.3)])
def test_fusions_rise_with_information_and_fall_with_cost(fuse):
    assert bool((fuse(I + 0.01, C) > fuse(I, C)).all())
    assert bool((fuse(I, C + 0.01) < fuse(I, C)).all())


def test_by_hand():
    assert float(g1(torch.tensor(0.6), torch.tensor(0.5))) == pytest.approx(0.4)
    assert float(g2(torch.tensor(0.6), torch.tensor(0.5))) == pytest.approx(0.3)
    assert float(g3(torch.tensor(0.6), torch.tensor(0.5), 0.3)) == pytest.approx(0.53)


# ------------------------------------------------------------------------------------------------------------- identities


def test_a_parameter_is_part_of_the_identity_unless_it_is_the_default():
    assert strategies.make("cereals-g3-entropy[alpha=0.3]").name == "cereals-g3-entropy[alpha=0.3]"
    assert strategies.make("cereals-g3-entropy[ alpha = 0.50 ]").name == "cereals-g3-entropy"
    assert (
        strategies.make("cereals-g3-vote-entropy[passes=4,alpha=1]").name
        == "cereals-g3-vote-entropy[alpha=1.0,passes=4]"
    )
    assert strategies.make("vote-entropy-region[passes=4]").n_passes == 4


def test_alpha_reaches_the_score():
    rng = np.random.default_rng(0)
    assert float(
        strategies.make("cereals-g3-entropy[alpha=1]").fuse(
            torch.tensor(0.6), torch.tensor(0.9), rng
        )
    ) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        ("entrpy-region", "did you mean 'entropy-region'"),
        (
            "cereals-g3-entropy[alpha=1.5]",
            "alpha is '1.5': Input should be less than or equal to 1",
        ),
        ("cereals-g3-entropy[alpha=nan]", "alpha is 'nan': "),
        ("cereals-g3-entropy[beta=1]", "parameters of cereals-g3-entropy: alpha"),
        ("random-region[alpha=1]", "parameters of random-region: none"),
        ("vote-entropy-region[passes=1]", "greater than or equal to 2"),
        ("vote-entropy-region[passes=__import__('os')]", "cannot set|valid integer"),
        ("cereals-g3-entropy[alpha=0.1,alpha=0.2]", "must be given once"),
        ("../evil", "cannot read strategy"),
        ("", "cannot read strategy"),
    ],
)
def test_bad_identities_get_one_line(identity, message):
    with pytest.raises(InputError, match=message) as caught:
        strategies.make(identity)
    assert "\n" not in str(caught.value)


def test_lists():
    assert [
        item.name
        for item in strategies.parse_list(
            "random-region, cereals-g3-vote-entropy[alpha=0.2,passes=3]"
        )
    ] == [
        "random-region",
        "cereals-g3-vote-entropy[alpha=0.2,passes=3]",
    ]
    everything = [item.name for item in strategies.parse_list("everything")]
    assert everything == list(strategies.STRATEGIES)
    all_of_them = [item.name for item in strategies.parse_list("all")]
    assert all_of_them == everything[:19]
    assert {"random-region", "cereals-g3-entropy", "bald", "coreset"} < set(all_of_them)
    more = "cereals-g2-entropy[cost=whole]"
    assert [item.name for item in strategies.parse_list(f"all, {more}")] == [
        *all_of_them,
        more,
    ]
    with pytest.raises(InputError, match="must be named once"):
        strategies.parse_list("random-region,random-region")
    with pytest.raises(InputError, match="no strategy"):
        strategies.parse_list(" , ")


def test_exactly_one_strategy_is_an_upper_bound():
    assert [name for name in strategies.STRATEGIES if strategies.make(name).is_bound] == [
        "cereals-g2-entropy-oracle-cost"
    ]


@pytest.mark.parametrize(
    "name", [name for name in strategies.STRATEGIES if strategies.make(name).cost == "predicted"]
)
def test_every_cost_aware_strategy_has_its_brackets(name):
    for cost in ("oracle", "constant"):
        bracket = strategies.make(f"{name}[cost={cost}]")
        assert bracket.name == f"{name}[cost={cost}]"
        assert bracket.is_bound
        assert bracket.equation != strategies.make(name).equation
    assert not strategies.make(f"{name}[cost=predicted]").is_bound
    whole = strategies.make(f"{name}[cost=whole]")
    assert not whole.is_bound
    assert whole.learns_cost
    assert "c_p + c_i + 4" in whole.equation
    with pytest.raises(
        InputError,
        match=r"cost is 'guessed': Input should be 'predicted', 'whole', 'oracle' or 'constant'",
    ):
        strategies.make(f"{name}[cost=guessed]")
