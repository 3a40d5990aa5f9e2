"""Types of strategy parameters: what a value may be is written once, where the parameter is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Alpha = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
"""Weight of information against cost in g3."""

Passes = Annotated[int, Field(ge=2, le=255)] | None
"""Committee size E; None takes the configuration's."""

Cost = Literal["predicted", "whole", "oracle", "constant"]
"""Where the cost in a score comes from.

The last two are brackets: labelled as bounds, never ranked.
"""

Scale = Literal["linear", "robust", "rank", "conditional"]
"""How the cost is put on [0, 1] over the pool: linearly, as in the paper; linearly from its 1st to its
99th percentile; as the share of all windows that cost less, or of those of like information."""

Considered = Annotated[int, Field(ge=1, le=1000)]
"""How many times as many candidates as the budget holds a second stage looks at."""

Weight = Annotated[float, Field(ge=0.0, le=100.0, allow_inf_nan=False)]
"""Weight of a term on [0, 1] against a scaled score; 0 leaves it out."""

Tolerance = Annotated[float, Field(gt=0.0, le=100.0, allow_inf_nan=False)]
"""How far a simplified outline may lie from the real one, in pixels."""

Beta = Annotated[float, Field(gt=0.0, le=1000.0, allow_inf_nan=False)]
"""Sharpness of power sampling: high values follow the score, low ones chance."""

SuperpixelPx = Annotated[int, Field(ge=4, le=1 << 24)] | None
"""Mean size of a superpixel in pixels; None: a quarter of the window's."""

Label = Literal["polygon", "dominant"]
"""How a superpixel is labelled: as a window is, or by one click on its most frequent class."""
