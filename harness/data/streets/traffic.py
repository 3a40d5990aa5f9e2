"""What moves or is parked in a street.

Cars, lorries, buses, trains, two-wheelers, people, clutter.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from harness.data.streets import shapes
from harness.data.streets.street import FOCAL, Camera, Color, Draw, Paint, Rng, any_color, grey


def shadow(camera: Camera, x_m: float, z_m: float, width_m: float) -> Paint:
    """The dark patch under a thing; only the photograph shows it."""
    center = camera.point(x_m, 0.0, z_m)
    rx, ry = FOCAL * width_m / 2 / z_m, max(0.004, FOCAL * 0.25 / z_m)
    return Paint(shapes.disc(10) * (rx, ry) + center, (0.5, 0.5, 0.52), texture="shade")


def _body(
    outline: shapes.Outline,
    label: str,
    height_m: float,
    color: Color,
    details: tuple[tuple[shapes.Outline, Color], ...],
    *,
    mirror: bool,
    width: float,
    texture: str = "metal",
    plate: bool = False,
) -> Draw:
    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        yield shadow(camera, x_m, z_m, width * height_m)
        yield Paint(
            camera.stand(outline, x_m, z_m, height_m, mirror=mirror),
            color,
            label,
            texture,
            0.16,
            0.03,
            gradient=-0.25,
            depth_m=z_m,
        )
        for detail, detail_color in details:
            yield Paint(
                camera.stand(detail, x_m, z_m, height_m, mirror=mirror), detail_color, depth_m=z_m
            )
        if plate and z_m < 14.0:
            yield Paint(
                camera.stand(shapes.box(-0.17, 0.24, 0.17, 0.33), x_m, z_m, height_m),
                (215.0, 215.0, 205.0),
                "license plate",
                depth_m=z_m,
            )

    return draw


_GLASS: Color = (42.0, 50.0, 58.0)
_TYRE: Color = (24.0, 24.0, 26.0)
_LAMP: Color = (200.0, 60.0, 50.0)


def car(rng: Rng, *, from_side: bool) -> Draw:
    """A car, from the side or from one of its ends."""
    color, height = any_color(rng), float(rng.uniform(1.4, 1.75))
    details: tuple[tuple[shapes.Outline, Color], ...]
    mirror = rng.random() < 0.5
    if from_side:
        details = (
            (
                np.array([(-0.95, 0.66), (-0.68, 0.92), (-0.28, 0.95), (0.24, 0.93), (0.58, 0.66)]),
                _GLASS,
            ),
            (shapes.disc(10, (-0.90, 0.20), 0.20), _TYRE),
            (shapes.disc(10, (0.90, 0.20), 0.20), _TYRE),
        )
        return _body(shapes.car_side(rng), "car", height, color, details, mirror=mirror, width=3.0)
    details = (
        (np.array([(-0.46, 0.60), (-0.32, 0.92), (0.32, 0.92), (0.46, 0.60)]), _GLASS),
        (shapes.box(-0.56, 0.42, -0.42, 0.52), _LAMP),
        (shapes.box(0.42, 0.42, 0.56, 0.52), _LAMP),
        (shapes.box(-0.58, 0.02, -0.38, 0.14), _TYRE),
        (shapes.box(0.38, 0.02, 0.58, 0.14), _TYRE),
    )
    return _body(
        shapes.car_end(rng),
        "car",
        height,
        color,
        details,
        mirror=mirror,
        width=1.4,
        plate=rng.random() < 0.7,
    )


def truck(rng: Rng) -> Draw:
    """A lorry."""
    from_side = rng.random() < 0.5
    details: tuple[tuple[shapes.Outline, Color], ...]
    if from_side:
        details = (
            (np.array([(0.62, 0.42), (0.62, 0.60), (0.86, 0.60), (0.99, 0.42)]), _GLASS),
            (shapes.disc(10, (-0.64, 0.12), 0.12), _TYRE),
            (shapes.disc(10, (0.77, 0.12), 0.12), _TYRE),
        )
    else:
        details = (
            (shapes.box(-0.37, 0.16, -0.02, 0.97), grey(rng, 90, 200)),
            (shapes.box(0.02, 0.16, 0.37, 0.97), grey(rng, 90, 200)),
        )
    return _body(
        shapes.truck(rng, from_side=from_side),
        "truck",
        float(rng.uniform(2.7, 3.6)),
        any_color(rng),
        details,
        mirror=rng.random() < 0.5,
        width=2.2 if from_side else 0.9,
    )


def coach(rng: Rng, label: str) -> Draw:
    """A bus or a train."""
    length, nose = (
        (float(rng.uniform(2.4, 3.4)), 0.12)
        if label == "bus"
        else (float(rng.uniform(4.5, 7.0)), 0.75)
    )
    half = length / 2
    panes = tuple(
        (shapes.box(float(left), 0.50, float(left) + 0.30, 0.82), _GLASS)
        for left in np.arange(-half + 0.12, half - nose - 0.3, 0.36)
    )
    stripe = ((shapes.box(-half, 0.26, half, 0.36), any_color(rng)),)
    wheels = (
        tuple((shapes.disc(10, (x, 0.1), 0.13), _TYRE) for x in (-half * 0.57, half * 0.57))
        if label == "bus"
        else ()
    )
    return _body(
        shapes.coach(rng, length=length, nose=nose),
        label,
        float(rng.uniform(2.9, 3.5)),
        any_color(rng),
        (*stripe, *panes, *wheels),
        mirror=rng.random() < 0.5,
        width=length,
    )


def person(rng: Rng) -> Draw:
    """Somebody who walks."""
    legs = grey(rng, 20, 110, 25)
    details = (
        (
            np.array(
                [
                    (-0.10, 0.46),
                    (-0.14, 0.02),
                    (-0.04, 0.02),
                    (0.0, 0.38),
                    (0.04, 0.02),
                    (0.14, 0.02),
                    (0.10, 0.46),
                ]
            ),
            legs,
        ),
        (shapes.disc(8, (0.0, 0.92), 0.06), (180.0, 140.0, 115.0)),
    )
    return _body(
        shapes.person(rng),
        "person",
        float(rng.uniform(1.5, 1.95)),
        any_color(rng),
        details,
        mirror=rng.random() < 0.5,
        width=0.5,
        texture="cloth",
    )


def two_wheeler(rng: Rng, label: str, *, ridden: bool) -> Draw:
    """A bicycle or a motorcycle, with or without its rider."""
    mirror = rng.random() < 0.5
    height = float(rng.uniform(0.95, 1.1) if label == "bicycle" else rng.uniform(1.05, 1.25))
    if label == "bicycle":
        hub = (
            (shapes.disc(10, (-0.5, 0.33), 0.20), (105.0, 105.0, 105.0)),
            (shapes.disc(10, (0.5, 0.33), 0.20), (105.0, 105.0, 105.0)),
        )
        machine = _body(
            shapes.bicycle(rng),
            label,
            height,
            grey(rng, 20, 90, 20),
            hub,
            mirror=mirror,
            width=1.7,
            texture="lattice_dense",
        )
    else:
        hub = (
            (shapes.disc(10, (-0.62, 0.26), 0.20), _TYRE),
            (shapes.disc(10, (0.60, 0.26), 0.20), _TYRE),
        )
        machine = _body(
            shapes.motorcycle(rng), label, height, any_color(rng), hub, mirror=mirror, width=1.9
        )
    if not ridden:
        return machine
    seat = _body(
        shapes.rider(rng),
        "rider",
        float(rng.uniform(1.25, 1.45)),
        any_color(rng),
        ((shapes.disc(8, (0.16, 0.92), 0.07), (170.0, 130.0, 105.0)),),
        mirror=mirror,
        width=0.3,
        texture="cloth",
    )

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        yield from machine(camera, x_m, z_m)
        for paint in seat(camera, x_m, z_m):
            lift = FOCAL * 0.42 / z_m
            yield Paint(
                paint.polygon - (0.0, lift),
                paint.color,
                paint.label,
                paint.texture,
                paint.contrast,
                paint.period,
                paint.gradient,
                paint.depth_m,
            )

    return draw


def group(rng: Rng, label: str) -> Draw:
    """People or vehicles too far away to be told apart."""
    outline = shapes.blob(rng, int(rng.integers(12, 22)), 0.12) * (1.6, 0.5) + (0.0, 0.5)
    color = any_color(rng)
    height = 1.7 if label == "persongroup" else 1.3

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        yield Paint(
            camera.stand(outline, x_m, z_m, height), color, label, "cloth", 0.3, 0.02, depth_m=z_m
        )

    return draw


def clutter(rng: Rng, label: str) -> Draw:
    """Something without a class of its own: void."""
    outline = (
        shapes.box(-0.35, 0.0, 0.35, 1.0)
        if label == "static"
        else shapes.blob(rng, 12, 0.15) * (0.5, 0.5) + (0.0, 0.5)
    )
    return _body(
        outline, label, float(rng.uniform(0.8, 1.3)), any_color(rng), (), mirror=False, width=0.8
    )
