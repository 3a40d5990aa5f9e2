"""How much may be bought when: in pixels, equal for all strategies, or in clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.pool import LabelledPool
from harness.protocols import ImageSizes
from harness.types import Annotation, Clicks, ClickTotals


@dataclass(frozen=True, slots=True)
class Schedule:
    """Equal pixels: each round, so many may be labelled in all.

    Another unit is another class with the four methods below.

    shares: of the pool that may be labelled up to round 1, 2, ...; equal steps of
    ``images_per_round`` without them.
    """

    seed_images: int
    images_per_round: int
    rounds: int
    shares: tuple[float, ...] = ()

    def images(self, round_number: int, pool_images: int) -> int:
        """Return how many images' worth may be labelled up to and including a round."""
        if self.shares and round_number:
            return round(self.shares[round_number - 1] * pool_images)
        return self.seed_images + round_number * self.images_per_round

    def budget_px(self, round_number: int, sizes: ImageSizes) -> int:
        """Return the pixels of as many images of the pool's mean size."""
        images = self.images(round_number, len(sizes))
        return images * sum(height * width for height, width in sizes.values()) // len(sizes)

    def budget_clicks(self, round_number: int, totals: ClickTotals) -> int | None:  # noqa: ARG002
        """Return the clicks that may be spent up to a round; None where they have no bound."""
        return None

    def room_px(
        self,
        round_number: int,
        pool: LabelledPool,
        spent: Clicks,  # noqa: ARG002  other units look at both
        totals: ClickTotals,  # noqa: ARG002
    ) -> int:
        """Return how many new pixels the query of a round may ask for."""
        return self.budget_px(round_number, pool.sizes) - pool.labelled_px

    def bought(
        self,
        round_number: int,  # noqa: ARG002  other units look at all three
        answers: Sequence[Annotation],
        spent: Clicks,  # noqa: ARG002
        totals: ClickTotals,  # noqa: ARG002
    ) -> int | None:
        """Return how many of a query's answers the budget pays for, from the first one on.

        All of them here. None: it pays for all, and for more than was asked for.
        """
        return len(answers)


@dataclass(frozen=True, slots=True)
class ClickSchedule(Schedule):
    """Equal clicks: each round buys until a share of the training set's clicks is spent.

    shares: of C_p, spent as cost_B = (c_p + c_i + c_b) / C_p. Choice: the region whose clicks reach
    the budget is bought in full, so that every strategy spends its budget and at most one region
    more; the next round has so much less. What a region costs is known when it has been labelled:
    no strategy sees it before.
    """

    def budget_px(self, round_number: int, sizes: ImageSizes) -> int:
        """Return all pixels of the pool: none but clicks are counted; for round 0 the seed set's."""
        if round_number == 0:
            return Schedule.budget_px(self, 0, sizes)
        return sum(height * width for height, width in sizes.values())

    def budget_clicks(self, round_number: int, totals: ClickTotals) -> int | None:
        """Return the clicks that may be spent up to a round; the seed set has no bound."""
        return round(self.shares[round_number - 1] * totals.polygon) if round_number else None

    def room_px(
        self, round_number: int, pool: LabelledPool, spent: Clicks, totals: ClickTotals
    ) -> int:
        """Return as many pixels as the clicks left would buy at the rate that was paid so far.

        Choice: where that turns out to be too few, twice as many are asked for, and so on; of a
        strategy that chooses among candidates (``select``) the choice is bought, and it chooses
        again among the rest.
        """
        unlabelled = pool.total_px - pool.labelled_px
        left = (self.budget_clicks(round_number, totals) or 0) - spent.billed
        if left <= 0:
            return 0
        if not spent.billed:
            return unlabelled
        return min(unlabelled, -(-left * pool.labelled_px // spent.billed))

    def bought(
        self,
        round_number: int,
        answers: Sequence[Annotation],
        spent: Clicks,
        totals: ClickTotals,
    ) -> int | None:
        """Return how many answers it takes until the budget is spent; None: it is not spent."""
        budget, bill = self.budget_clicks(round_number, totals) or 0, spent.billed
        for number, answer in enumerate(answers):
            if bill >= budget:
                return number
            bill += answer.clicks.billed
        return len(answers) if bill >= budget else None
