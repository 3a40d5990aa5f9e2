"""A street seen through a pinhole camera.

What is painted, the camera, the look of a city, the things that stand in it.

A scene knows nothing about pixels. Coordinates are in units of the image height: x in [0, aspect],
y in [0, 1], y down; world coordinates are metres, X to the right of the camera, Y up, Z ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.data.streets import shapes

Polygon = npt.NDArray[np.float64]
Color = tuple[float, float, float]
Rng = np.random.Generator

FOCAL = 1.6
HORIZON = 0.44
CAMERA_HEIGHT_M = 1.4
NEAREST_M = 3.2
HOOD_TOP = 0.94


@dataclass(frozen=True, slots=True)
class Paint:
    """One polygon to paint. ``label`` is None for what only the photograph shows (shadows, windows, lane marks)."""

    polygon: Polygon
    color: Color
    label: str | None = None
    texture: str = "plain"
    contrast: float = 0.15
    period: float = 0.02
    gradient: float = 0.0
    depth_m: float = 10.0


@dataclass(frozen=True, slots=True)
class CityLook:
    """What the images of one city have in common.

    Colours, light, haze, street width, camera mount.
    """

    road: Color
    sidewalk: Color
    facades: tuple[Color, ...]
    leaf: Color
    grass: Color
    sky: Color
    light: float
    warmth: float
    haze: float
    sun_side: float
    noise: float
    road_half_m: float
    sidewalk_m: float
    storey: float
    trees: float
    hood: Polygon


def grey(rng: Rng, low: float, high: float, tint: float = 8.0) -> Color:
    """Draw a colour close to grey."""
    base = rng.uniform(low, high)
    red, green, blue = base + rng.uniform(-tint, tint, 3)
    return float(red), float(green), float(blue)


def any_color(rng: Rng) -> Color:
    """Draw any colour; every second one is grey."""
    red, green, blue = rng.uniform(25, 215, 3)
    return (float(red), float(green), float(blue)) if rng.random() < 0.5 else grey(rng, 25, 220)


def city_look(rng: Rng, aspect: float) -> CityLook:
    """Draw the look of one city."""
    facades = tuple(
        (float(value), float(value * rng.uniform(0.82, 1.0)), float(value * rng.uniform(0.65, 1.0)))
        for value in rng.uniform(85, 185, 4)
    )
    top = HOOD_TOP + rng.uniform(-0.01, 0.02)
    across = np.linspace(0.0, aspect, int(rng.integers(9, 15)))
    hood_y = top + 0.05 * ((across - aspect / 2) / (aspect / 2)) ** 2
    hood = np.concatenate([np.stack([across, hood_y], axis=1), [[aspect, 1.0], [0.0, 1.0]]])
    overcast = rng.random() < 0.5
    return CityLook(
        road=grey(rng, 70, 125),
        sidewalk=grey(rng, 95, 155),
        facades=facades,
        leaf=(float(rng.uniform(40, 85)), float(rng.uniform(75, 115)), float(rng.uniform(35, 70))),
        grass=(
            float(rng.uniform(80, 135)),
            float(rng.uniform(100, 135)),
            float(rng.uniform(50, 85)),
        ),
        sky=grey(rng, 190, 235)
        if overcast
        else (
            float(rng.uniform(130, 175)),
            float(rng.uniform(165, 200)),
            float(rng.uniform(205, 240)),
        ),
        light=float(rng.uniform(0.75, 1.15)),
        warmth=float(rng.uniform(-0.08, 0.08)),
        haze=float(rng.uniform(0.002, 0.010)),
        sun_side=float(rng.choice([-1.0, 1.0])),
        noise=float(rng.uniform(3.0, 9.0)),
        road_half_m=float(rng.uniform(2.9, 4.4)),
        sidewalk_m=float(rng.uniform(2.8, 5.5)),
        storey=float(rng.uniform(2.8, 3.6)),
        trees=float(rng.uniform(1.0, 3.5)),
        hood=hood,
    )


Draw = Callable[["Camera", float, float], Iterable[Paint]]
"""Draws a thing: (camera, x in metres, distance in metres) -> what to paint, back to front."""


@dataclass(slots=True)
class Thing:
    """Something that stands in the street: where, and how it is drawn once the camera is known."""

    x_m: float
    z_m: float
    draw: Draw
    speed: float = 0.0


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole at ``CAMERA_HEIGHT_M`` that looks straight ahead."""

    aspect: float
    shift_x_m: float = 0.0

    def point(self, x_m: float, y_m: float, z_m: float) -> tuple[float, float]:
        """Project a world point (metres) to image coordinates (units of the image height)."""
        return (
            self.aspect / 2 + FOCAL * (x_m - self.shift_x_m) / z_m,
            HORIZON + FOCAL * (CAMERA_HEIGHT_M - y_m) / z_m,
        )

    def quad(self, corners: Iterable[tuple[float, float, float]]) -> Polygon:
        """Project a list of world points."""
        return np.array([self.point(*corner) for corner in corners])

    def stand(
        self,
        outline: shapes.Outline,
        x_m: float,
        z_m: float,
        height_m: float,
        *,
        lift_m: float = 0.0,
        mirror: bool = False,
    ) -> Polygon:
        """Put a flat outline of unit height upright on the ground, facing the camera."""
        scale = FOCAL * height_m / z_m
        foot_x, foot_y = self.point(x_m, lift_m, z_m)
        sign = -1.0 if mirror else 1.0
        return np.stack(
            [foot_x + sign * scale * outline[:, 0], foot_y - scale * outline[:, 1]], axis=1
        )


@dataclass(slots=True)
class Street:
    """A street before a camera: the ground, what lines it, and the things that stand in it."""

    look: CityLook
    curve: float
    ground: list[Callable[[Camera, float], Iterable[Paint]]] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)

    def paints(self, camera: Camera, ahead_m: float, rng: Rng) -> Iterator[Paint]:
        """Yield the scene back to front for a camera that has moved ``ahead_m`` along the street."""
        for draw in self.ground:
            yield from draw(camera, ahead_m)
        for thing in sorted(self.things, key=lambda thing: -thing.z_m):
            z_m = thing.z_m - ahead_m + thing.speed * ahead_m * float(rng.uniform(0.6, 1.2))
            if z_m >= NEAREST_M:
                yield from thing.draw(camera, thing.x_m + self.bend(z_m), z_m)
        yield from _frame(self.look, camera.aspect, rng)

    def bend(self, z_m: float) -> float:
        """Return how far the street has turned aside, in metres, at a distance."""
        return self.curve * z_m * z_m


def _frame(look: CityLook, aspect: float, rng: Rng) -> Iterator[Paint]:
    """Yield what the camera mount adds to each image of a city.

    The car's own hood and the borders outside the frame.
    """
    yield Paint(look.hood, (28.0, 28.0, 32.0), "ego vehicle", "metal", 0.2, 0.3)
    edge = 0.008
    yield Paint(
        np.array([[0.0, 0.0], [0.0, 1.0], [edge, 1.0], [edge, 0.0]]), (5.0, 5.0, 5.0), "out of roi"
    )
    yield Paint(
        np.array([[aspect, 0.0], [aspect - edge, 0.0], [aspect - edge, 1.0], [aspect, 1.0]]),
        (5.0, 5.0, 5.0),
        "out of roi",
    )
    if rng.random() < 0.5:
        lower = 1.0 - edge
        yield Paint(
            np.array([[0.0, lower], [aspect, lower], [aspect, 1.0], [0.0, 1.0]]),
            (0.0, 0.0, 0.0),
            "rectification border",
        )
