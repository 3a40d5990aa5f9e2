"""Outlines of street furniture, vehicles and people, in units of their own height or length (x right, y up)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Outline = npt.NDArray[np.float64]
"""(n, 2) vertices; y = 0 is the ground, y = 1 the top of a thing of unit height."""


def _outline(
    points: Sequence[tuple[float, float]],
    rng: np.random.Generator | None = None,
    jitter: float = 0.0,
) -> Outline:
    outline = np.asarray(points, dtype=np.float64)
    return outline if rng is None else outline + rng.normal(0.0, jitter, outline.shape)


def disc(n: int, center: tuple[float, float] = (0.0, 0.0), radius: float = 1.0) -> Outline:
    """Return a regular polygon with ``n`` vertices."""
    angle = np.linspace(0.0, 2 * np.pi, n, endpoint=False)
    return np.stack(
        [center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)], axis=1
    )


def box(left: float, bottom: float, right: float, top: float) -> Outline:
    """Return an upright rectangle."""
    return _outline([(left, bottom), (left, top), (right, top), (right, bottom)])


def blob(rng: np.random.Generator, n: int, roughness: float) -> Outline:
    """Return a ragged closed curve about the unit disc.

    Tree crowns, bushes, groups seen from afar.
    """
    angle = np.linspace(0.0, 2 * np.pi, n, endpoint=False) + rng.uniform(-0.5, 0.5, n) * np.pi / n
    radius = 1.0 + roughness * rng.standard_normal(n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def person(rng: np.random.Generator) -> Outline:
    """Return a walking person of unit height with separate legs and an arm on either side."""
    front, back = rng.uniform(0.03, 0.17, 2)
    arm, other_arm = rng.uniform(0.14, 0.22, 2)
    return _outline(
        [
            (front + 0.06, 0.0),
            (front * 0.6 + 0.06, 0.25),
            (0.11, 0.47),
            (arm, 0.45),
            (arm + 0.02, 0.60),
            (0.14, 0.79),
            (0.05, 0.84),
            (0.075, 0.90),
            (0.06, 0.97),
            (0.0, 1.0),
            (-0.06, 0.97),
            (-0.075, 0.90),
            (-0.05, 0.84),
            (-0.14, 0.79),
            (-other_arm - 0.02, 0.60),
            (-other_arm, 0.45),
            (-0.11, 0.47),
            (-back * 0.6 - 0.06, 0.25),
            (-back - 0.06, 0.0),
            (-back + 0.02, 0.0),
            (0.0, 0.40),
            (front - 0.02, 0.0),
        ],
        rng,
        0.008,
    )


def rider(rng: np.random.Generator) -> Outline:
    """Return a person who sits on a two-wheeler, leaning forward (unit height, feet at y = 0)."""
    lean = rng.uniform(0.05, 0.25)
    return _outline(
        [
            (0.0, 0.0),
            (0.10, 0.0),
            (0.14, 0.30),
            (0.02, 0.45),
            (0.10 + lean, 0.62),
            (0.32 + lean, 0.50),
            (0.35 + lean, 0.56),
            (0.14 + lean, 0.78),
            (0.08 + lean, 0.84),
            (0.10 + lean, 0.93),
            (0.04 + lean, 1.0),
            (-0.05 + lean, 0.97),
            (-0.06 + lean, 0.87),
            (-0.14, 0.70),
            (-0.18, 0.42),
            (-0.04, 0.30),
        ],
        rng,
        0.008,
    )


def bicycle(rng: np.random.Generator) -> Outline:
    """Return a bicycle seen from the side: two wheels, saddle, handlebar; length 1.7 heights."""
    left = disc(12, (-0.5, 0.33), 0.33)
    right = disc(12, (0.5, 0.33), 0.33)
    keep_left = left[(left[:, 0] < -0.45) | (left[:, 1] < 0.2)]
    keep_right = right[(right[:, 0] > 0.45) | (right[:, 1] < 0.2)]
    order_left = keep_left[
        np.argsort(-np.arctan2(keep_left[:, 1] - 0.33, keep_left[:, 0] + 0.5) % (2 * np.pi))
    ]
    order_right = keep_right[
        np.argsort(np.arctan2(keep_right[:, 1] - 0.33, keep_right[:, 0] - 0.5))
    ]
    top = _outline(
        [
            (0.46, 0.75),
            (0.52, 0.98),
            (0.36, 1.0),
            (0.33, 0.78),
            (-0.12, 0.72),
            (-0.12, 0.88),
            (-0.32, 0.88),
            (-0.26, 0.70),
        ]
    )
    middle = _outline([(-0.16, 0.22), (0.0, 0.14), (0.18, 0.22)])
    return np.concatenate([order_right, top, order_left[::-1], middle]) + rng.normal(
        0.0, 0.006, (1, 2)
    )


def motorcycle(rng: np.random.Generator) -> Outline:
    """Return a motorcycle seen from the side; length 1.8 heights."""
    return _outline(
        [
            (-0.95, 0.28),
            (-0.85, 0.06),
            (-0.62, 0.0),
            (-0.40, 0.08),
            (-0.30, 0.24),
            (0.22, 0.22),
            (0.36, 0.06),
            (0.60, 0.0),
            (0.84, 0.08),
            (0.92, 0.30),
            (0.78, 0.52),
            (0.62, 0.60),
            (0.50, 0.98),
            (0.34, 1.0),
            (0.30, 0.80),
            (0.05, 0.84),
            (-0.15, 0.66),
            (-0.72, 0.72),
            (-0.80, 0.54),
        ],
        rng,
        0.012,
    )


def car_end(rng: np.random.Generator) -> Outline:
    """Return a car seen from the front or the back; unit height, width 1.2."""
    shoulder = rng.uniform(0.50, 0.62)
    roof = rng.uniform(0.36, 0.46)
    return _outline(
        [
            (-0.60, 0.14),
            (-0.60, shoulder),
            (-0.55, shoulder + 0.06),
            (-roof, 0.95),
            (-roof + 0.08, 1.0),
            (roof - 0.08, 1.0),
            (roof, 0.95),
            (0.55, shoulder + 0.06),
            (0.60, shoulder),
            (0.60, 0.14),
            (0.56, 0.0),
            (0.38, 0.0),
            (0.36, 0.12),
            (-0.36, 0.12),
            (-0.38, 0.0),
            (-0.56, 0.0),
        ],
        rng,
        0.008,
    )


def car_side(rng: np.random.Generator) -> Outline:
    """Return a car seen from the side; unit height, length 2.8."""
    back = rng.uniform(-1.35, -0.95)
    return _outline(
        [
            (-1.40, 0.18),
            (-1.40, 0.52),
            (back, 0.66),
            (back + 0.35, 0.96),
            (-0.30, 1.0),
            (0.25, 0.98),
            (0.70, 0.66),
            (1.25, 0.56),
            (1.40, 0.42),
            (1.40, 0.18),
            (1.12, 0.16),
            (1.05, 0.04),
            (0.90, 0.0),
            (0.72, 0.04),
            (0.65, 0.16),
            (-0.65, 0.16),
            (-0.72, 0.04),
            (-0.90, 0.0),
            (-1.05, 0.04),
            (-1.12, 0.16),
        ],
        rng,
        0.012,
    )


def truck(rng: np.random.Generator, *, from_side: bool) -> Outline:
    """Return a lorry: a tall load box, with a lower cab when it is seen from the side (length 2.2 heights)."""
    if not from_side:
        return _outline(
            [
                (-0.40, 0.1),
                (-0.40, 1.0),
                (0.40, 1.0),
                (0.40, 0.1),
                (0.34, 0.1),
                (0.34, 0.0),
                (0.2, 0.0),
                (0.2, 0.1),
                (-0.2, 0.1),
                (-0.2, 0.0),
                (-0.34, 0.0),
                (-0.34, 0.1),
            ],
            rng,
            0.006,
        )
    cab = rng.uniform(0.62, 0.85)
    return _outline(
        [
            (-1.1, 0.14),
            (-1.1, 1.0),
            (0.5, 1.0),
            (0.5, cab),
            (0.88, cab),
            (1.08, 0.45),
            (1.1, 0.12),
            (0.9, 0.12),
            (0.84, 0.0),
            (0.7, 0.0),
            (0.62, 0.12),
            (-0.5, 0.12),
            (-0.56, 0.0),
            (-0.72, 0.0),
            (-0.8, 0.12),
        ],
        rng,
        0.006,
    )


def coach(rng: np.random.Generator, *, length: float, nose: float) -> Outline:
    """Return a bus (short, blunt nose) or a train (long, raked nose), with unit height."""
    half = length / 2
    return _outline(
        [
            (-half, 0.06),
            (-half, 0.90),
            (-half + 0.08, 1.0),
            (half - nose, 1.0),
            (half - 0.3 * nose, 0.86),
            (half, 0.42),
            (half, 0.06),
            (half * 0.7, 0.05),
            (half * 0.65, 0.0),
            (half * 0.5, 0.0),
            (half * 0.45, 0.05),
            (-half * 0.45, 0.05),
            (-half * 0.5, 0.0),
            (-half * 0.65, 0.0),
            (-half * 0.7, 0.05),
        ],
        rng,
        0.004,
    )
