"""The ground, the sky, and what lines a street: buildings, walls, fences, trees, masts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from harness.data.streets import shapes
from harness.data.streets.street import (
    FOCAL,
    HORIZON,
    NEAREST_M,
    Camera,
    CityLook,
    Draw,
    Paint,
    Polygon,
    Rng,
    Street,
    Thing,
    grey,
)

_DEPTHS_M = (2.0, 3.0, 5.0, 8.0, 13.0, 22.0, 40.0, 90.0)


def _strip(camera: Camera, street: Street, inner_m: float, outer_m: float) -> Polygon:
    near_to_far = [(inner_m + street.bend(z), 0.0, z) for z in _DEPTHS_M]
    far_to_near = [(outer_m + street.bend(z), 0.0, z) for z in reversed(_DEPTHS_M)]
    return camera.quad([*near_to_far, *far_to_near])


def sky_and_skyline(rng: Rng, look: CityLook) -> Callable[[Camera, float], Iterable[Paint]]:
    """Sky, and far roofs or trees along the horizon."""
    xs = np.linspace(0.0, 1.0, int(rng.integers(8, 16)))
    tops = HORIZON - rng.uniform(0.02, 0.10, xs.size)
    green = rng.random() < 0.5
    cloud = float(rng.uniform(0.03, 0.16))

    def draw(camera: Camera, _ahead_m: float) -> Iterable[Paint]:
        aspect = camera.aspect
        yield Paint(
            np.array([[0.0, 0.0], [aspect, 0.0], [aspect, 0.55], [0.0, 0.55]]),
            look.sky,
            "sky",
            "cloud",
            cloud,
            0.25,
            gradient=0.15,
            depth_m=1.0,
        )
        skyline = np.concatenate(
            [np.stack([xs * aspect, tops], axis=1), [[aspect, 0.5], [0.0, 0.5]]]
        )
        label, color, texture = (
            ("vegetation", look.leaf, "leaves")
            if green
            else ("building", look.facades[0], "windows")
        )
        yield Paint(skyline, color, label, texture, 0.25, 0.012, depth_m=90.0)

    return draw


def carriageway(rng: Rng, street: Street) -> Callable[[Camera, float], Iterable[Paint]]:
    """Sidewalks, verges, road, lane marks, and the shadow of one side's houses."""
    look = street.look
    half = look.road_half_m
    walk = half + look.sidewalk_m
    terrain = [side for side in (-1.0, 1.0) if rng.random() < 0.5]
    verge = float(rng.uniform(0.3, 0.75)) * look.sidewalk_m
    dashes = rng.random() < 0.7
    parking = rng.random() < 0.15
    shadow = rng.uniform(0.2, 1.1) * half if rng.random() < 0.6 else 0.0

    def draw(camera: Camera, ahead_m: float) -> Iterable[Paint]:
        for side in (-1.0, 1.0):
            yield Paint(
                _strip(camera, street, side * half * 0.9, side * 60.0),
                look.sidewalk,
                "sidewalk",
                "slabs",
                0.12,
                0.7,
                depth_m=6.0,
            )
        for side in terrain:
            yield Paint(
                _strip(camera, street, side * (walk - verge), side * 45.0),
                look.grass,
                "terrain",
                "grass",
                0.30,
                0.02,
                depth_m=6.0,
            )
        yield Paint(
            _strip(camera, street, -half, half),
            look.road,
            "road",
            "asphalt",
            0.10,
            0.03,
            depth_m=6.0,
        )
        if parking:
            yield Paint(
                _strip(camera, street, half - 2.1, half),
                look.road,
                "parking",
                "slabs",
                0.12,
                0.4,
                depth_m=6.0,
            )
        if dashes:
            for z in np.arange(6.0 - ahead_m % 6.0, 60.0, 6.0):
                if z > 2.5:
                    near, far = float(z), float(z) + 3.0
                    mark = [
                        (-0.09 + street.bend(near), 0.0, near),
                        (0.09 + street.bend(near), 0.0, near),
                        (0.09 + street.bend(far), 0.0, far),
                        (-0.09 + street.bend(far), 0.0, far),
                    ]
                    yield Paint(camera.quad(mark), (205.0, 205.0, 200.0))
        if shadow:
            side = look.sun_side
            yield Paint(
                _strip(camera, street, side * walk, side * (walk - shadow - look.sidewalk_m)),
                (0.62, 0.62, 0.66),
                texture="shade",
            )

    return draw


def _building(rng: Rng, street: Street, side: float, length_m: float) -> Draw:
    look = street.look
    color = look.facades[int(rng.integers(len(look.facades)))]
    height = float(rng.uniform(2, 6)) * look.storey
    lit = 1.08 if side != look.sun_side else 0.80
    opening = rng.random() < 0.22
    opening_label = (
        ("sky", look.sky, "cloud") if rng.random() < 0.3 else ("vegetation", look.leaf, "leaves")
    )
    period = look.storey

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        near, far = max(z_m, NEAREST_M - 1.0), z_m + length_m
        x_far = x_m + street.bend(far) - street.bend(z_m)
        end = x_m + side * 14.0
        front = camera.quad(
            [(x_m, 0, near), (x_m, height, near), (end, height, near), (end, 0, near)]
        )
        face = camera.quad(
            [(x_m, 0, near), (x_m, height, near), (x_far, height, far), (x_far, 0, far)]
        )
        shade = tuple(channel * lit for channel in color)
        outline = np.concatenate([face[3:4], face[2:3], face[1:2], front[2:4], face[0:1]])
        yield Paint(
            outline,
            (shade[0], shade[1], shade[2]),
            "building",
            "windows",
            0.35,
            FOCAL * period / (0.5 * (near + far)),
            depth_m=near,
        )
        darker = (0.84 * shade[0], 0.84 * shade[1], 0.86 * shade[2])
        yield Paint(front, darker, None, "windows", 0.35, FOCAL * period / near, depth_m=near)
        if opening and length_m > 7.0:
            a, b = near + 0.35 * (far - near), near + 0.60 * (far - near)
            xa, xb = (x_m + (x_far - x_m) * t for t in (0.35, 0.60))
            top = min(3.4, 0.6 * height)
            arch = camera.quad(
                [
                    (xa, 0, a),
                    (xa, 0.8 * top, a),
                    (xa * 0.75 + xb * 0.25, top, 0.75 * a + 0.25 * b),
                    (xa * 0.25 + xb * 0.75, top, 0.25 * a + 0.75 * b),
                    (xb, 0.8 * top, b),
                    (xb, 0, b),
                ]
            )
            yield Paint(
                arch, opening_label[1], opening_label[0], opening_label[2], 0.3, 0.02, depth_m=b
            )

    return draw


def _barrier(rng: Rng, street: Street, label: str, length_m: float) -> Draw:
    height = float(rng.uniform(1.3, 2.6))
    color = grey(rng, 70, 160, 20) if label == "wall" else grey(rng, 40, 120, 15)
    texture = "bricks" if label == "wall" else "lattice"

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        near, far = max(z_m, NEAREST_M - 1.0), z_m + length_m
        x_far = x_m + street.bend(far) - street.bend(z_m)
        face = camera.quad(
            [
                (x_m, 0, near),
                (x_m, height, near),
                (0.5 * (x_m + x_far), height, 0.5 * (near + far)),
                (x_far, height, far),
                (x_far, 0, far),
            ]
        )
        yield Paint(
            face, color, label, texture, 0.3, FOCAL * 0.5 / (0.5 * (near + far)), depth_m=near
        )

    return draw


def line_sides(rng: Rng, street: Street) -> None:
    """Line both sides of the street with buildings, walls, fences and gaps, from far to near."""
    look = street.look
    for side in (-1.0, 1.0):
        z = float(rng.uniform(2.0, 9.0))
        setback = look.road_half_m + look.sidewalk_m + float(rng.choice([0.0, 0.0, 2.0]))
        while z < 70.0:
            length = float(rng.uniform(7.0, 16.0))
            kind = rng.random()
            x = side * setback
            if kind < 0.62:
                street.things.append(Thing(x, z, _building(rng, street, side, length)))
            elif kind < 0.90:
                label = "fence" if rng.random() < 0.6 else "wall"
                street.things.append(Thing(x, z, _barrier(rng, street, label, length)))
                for _ in range(int(rng.integers(1, 4))):
                    street.things.append(
                        Thing(
                            x + side * float(rng.uniform(1.0, 5.0)),
                            z + length * float(rng.random()) + 1.0,
                            tree(rng, street.look),
                        )
                    )
            z += length + float(rng.choice([0.0, 0.0, 3.0]))


def tree(rng: Rng, look: CityLook) -> Draw:
    """A tree, or a bush."""
    bush = rng.random() < 0.3
    height = float(rng.uniform(1.0, 2.0) if bush else rng.uniform(4.5, 9.0))
    crown = shapes.blob(rng, int(rng.integers(11, 21)), 0.10)
    spread = float(rng.uniform(0.30, 0.42))
    color = (
        look.leaf[0] * float(rng.uniform(0.8, 1.25)),
        look.leaf[1] * float(rng.uniform(0.85, 1.15)),
        look.leaf[2],
    )
    base = 0.0 if bush else 0.30

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        if not bush:
            trunk = camera.stand(shapes.box(-0.018, 0.0, 0.018, 0.45), x_m, z_m, height)
            yield Paint(trunk, (72.0, 60.0, 48.0), "vegetation", "leaves", 0.2, 0.01, depth_m=z_m)
        leaves = crown * (spread, (1.0 - base) / 2) + (0.0, base + (1.0 - base) / 2)
        yield Paint(
            camera.stand(leaves, x_m, z_m, height),
            color,
            "vegetation",
            "leaves",
            0.38,
            0.018,
            gradient=-0.25,
            depth_m=z_m,
        )

    return draw


def mast(rng: Rng, signs: tuple[str, ...]) -> Draw:
    """A lamp post, or a mast with lights and signs."""
    height = float(rng.uniform(2.6, 4.2) if signs else rng.uniform(5.0, 8.0))
    half = float(rng.uniform(0.07, 0.13))
    color = grey(rng, 60, 150)
    arm = not signs and rng.random() < 0.5
    bend = float(rng.uniform(1.0, 2.2))
    n_corners = int(rng.choice([3, 4, 10]))
    sign_color = [
        (190.0, 40.0, 40.0),
        (40.0, 70.0, 170.0),
        (225.0, 215.0, 70.0),
        (215.0, 215.0, 215.0),
    ][int(rng.integers(4))]
    radius = float(rng.uniform(0.34, 0.55))

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        toward = -1.0 if x_m > 0 else 1.0
        shaft = [(-half, 0.0), (-half, height), (half, height), (half, 0.0)]
        if arm:
            shaft = [
                (-half, 0.0),
                (-half, height),
                (toward * bend, height + 0.25),
                (toward * bend, height + 0.05),
                (half, height - 0.25),
                (half, 0.0),
            ]
        yield Paint(
            camera.stand(np.array(shaft), x_m, z_m, 1.0),
            color,
            "pole",
            "metal",
            0.12,
            0.01,
            depth_m=z_m,
        )
        top = height
        for kind in signs:
            if kind == "traffic sign":
                plate = (
                    shapes.disc(n_corners, (0.0, top - radius), radius)
                    if n_corners != 4
                    else shapes.box(-radius, top - 1.5 * radius, radius, top)
                )
                yield Paint(
                    camera.stand(plate, x_m, z_m, 1.0), sign_color, kind, "plain", 0.05, depth_m=z_m
                )
                inner = (plate - plate.mean(axis=0)) * 0.62 + plate.mean(axis=0)
                yield Paint(camera.stand(inner, x_m, z_m, 1.0), (232.0, 232.0, 228.0), depth_m=z_m)
                top -= 2.1 * radius
            else:
                case = np.array(
                    [
                        (-0.19, top - 1.05),
                        (-0.19, top - 0.05),
                        (-0.12, top),
                        (0.12, top),
                        (0.19, top - 0.05),
                        (0.19, top - 1.05),
                        (0.12, top - 1.12),
                        (-0.12, top - 1.12),
                    ]
                )
                yield Paint(
                    camera.stand(case, x_m, z_m, 1.0),
                    (38.0, 40.0, 38.0),
                    kind,
                    "plain",
                    0.1,
                    depth_m=z_m,
                )
                lamp = int(3 * abs(np.sin(100 * x_m)))
                lamp_color = [(230.0, 50.0, 40.0), (235.0, 180.0, 40.0), (60.0, 210.0, 110.0)][
                    min(lamp, 2)
                ]
                yield Paint(
                    camera.stand(
                        shapes.disc(8, (0.0, top - 0.22 - 0.32 * lamp), 0.11), x_m, z_m, 1.0
                    ),
                    lamp_color,
                    depth_m=z_m,
                )
                top -= 1.4

    return draw
