"""Vector street scenes: what stands where, seen through a pinhole camera, as polygons from back to front.

A scene knows nothing about pixels. Coordinates are in units of the image height: x in [0, aspect], y in [0, 1], y down;
world coordinates are metres, X to the right of the camera, Y up, Z ahead.
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
    """What the images of one city have in common: colours, light, haze, street width, camera mount."""

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


def _grey(rng: Rng, low: float, high: float, tint: float = 8.0) -> Color:
    base = rng.uniform(low, high)
    red, green, blue = base + rng.uniform(-tint, tint, 3)
    return float(red), float(green), float(blue)


def _any_color(rng: Rng) -> Color:
    red, green, blue = rng.uniform(25, 215, 3)
    return (float(red), float(green), float(blue)) if rng.random() < 0.5 else _grey(rng, 25, 220)


def city_look(rng: Rng, aspect: float) -> CityLook:
    """Draw the look of one city."""
    facades = tuple(
        (float(value), float(value * rng.uniform(0.82, 1.0)), float(value * rng.uniform(0.65, 1.0))) for value in rng.uniform(85, 185, 4)
    )
    top = HOOD_TOP + rng.uniform(-0.01, 0.02)
    across = np.linspace(0.0, aspect, int(rng.integers(9, 15)))
    hood_y = top + 0.05 * ((across - aspect / 2) / (aspect / 2)) ** 2
    hood = np.concatenate([np.stack([across, hood_y], axis=1), [[aspect, 1.0], [0.0, 1.0]]])
    overcast = rng.random() < 0.5
    return CityLook(
        road=_grey(rng, 70, 125),
        sidewalk=_grey(rng, 95, 155),
        facades=facades,
        leaf=(float(rng.uniform(40, 85)), float(rng.uniform(75, 115)), float(rng.uniform(35, 70))),
        grass=(float(rng.uniform(80, 135)), float(rng.uniform(100, 135)), float(rng.uniform(50, 85))),
        sky=_grey(rng, 190, 235)
        if overcast
        else (float(rng.uniform(130, 175)), float(rng.uniform(165, 200)), float(rng.uniform(205, 240))),
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


@dataclass(slots=True)
class Thing:
    """Something that stands in the street: where, and how it is drawn once the camera is known."""

    x_m: float
    z_m: float
    draw: Callable[[Camera, float, float], Iterable[Paint]]
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
        self, outline: shapes.Outline, x_m: float, z_m: float, height_m: float, *, lift_m: float = 0.0, mirror: bool = False
    ) -> Polygon:
        """Put a flat outline of unit height upright on the ground, facing the camera."""
        scale = FOCAL * height_m / z_m
        foot_x, foot_y = self.point(x_m, lift_m, z_m)
        sign = -1.0 if mirror else 1.0
        return np.stack([foot_x + sign * scale * outline[:, 0], foot_y - scale * outline[:, 1]], axis=1)


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
    """Yield what the camera mount adds to each image of a city: the car's own hood and the borders outside the frame."""
    yield Paint(look.hood, (28.0, 28.0, 32.0), "ego vehicle", "metal", 0.2, 0.3)
    edge = 0.008
    yield Paint(np.array([[0.0, 0.0], [0.0, 1.0], [edge, 1.0], [edge, 0.0]]), (5.0, 5.0, 5.0), "out of roi")
    yield Paint(np.array([[aspect, 0.0], [aspect - edge, 0.0], [aspect - edge, 1.0], [aspect, 1.0]]), (5.0, 5.0, 5.0), "out of roi")
    if rng.random() < 0.5:
        lower = 1.0 - edge
        yield Paint(np.array([[0.0, lower], [aspect, lower], [aspect, 1.0], [0.0, 1.0]]), (0.0, 0.0, 0.0), "rectification border")


# --------------------------------------------------------------------------------------------- ground and buildings

_DEPTHS_M = (2.0, 3.0, 5.0, 8.0, 13.0, 22.0, 40.0, 90.0)


def _strip(camera: Camera, street: Street, inner_m: float, outer_m: float) -> Polygon:
    near_to_far = [(inner_m + street.bend(z), 0.0, z) for z in _DEPTHS_M]
    far_to_near = [(outer_m + street.bend(z), 0.0, z) for z in reversed(_DEPTHS_M)]
    return camera.quad([*near_to_far, *far_to_near])


def _sky_and_skyline(rng: Rng, look: CityLook) -> Callable[[Camera, float], Iterable[Paint]]:
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
        skyline = np.concatenate([np.stack([xs * aspect, tops], axis=1), [[aspect, 0.5], [0.0, 0.5]]])
        label, color, texture = ("vegetation", look.leaf, "leaves") if green else ("building", look.facades[0], "windows")
        yield Paint(skyline, color, label, texture, 0.25, 0.012, depth_m=90.0)

    return draw


def _carriageway(rng: Rng, street: Street) -> Callable[[Camera, float], Iterable[Paint]]:
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
            yield Paint(_strip(camera, street, side * half * 0.9, side * 60.0), look.sidewalk, "sidewalk", "slabs", 0.12, 0.7, depth_m=6.0)
        for side in terrain:
            yield Paint(_strip(camera, street, side * (walk - verge), side * 45.0), look.grass, "terrain", "grass", 0.30, 0.02, depth_m=6.0)
        yield Paint(_strip(camera, street, -half, half), look.road, "road", "asphalt", 0.10, 0.03, depth_m=6.0)
        if parking:
            yield Paint(_strip(camera, street, half - 2.1, half), look.road, "parking", "slabs", 0.12, 0.4, depth_m=6.0)
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
            yield Paint(_strip(camera, street, side * walk, side * (walk - shadow - look.sidewalk_m)), (0.62, 0.62, 0.66), texture="shade")

    return draw


def _building(rng: Rng, street: Street, side: float, length_m: float) -> Callable[[Camera, float, float], Iterable[Paint]]:
    look = street.look
    color = look.facades[int(rng.integers(len(look.facades)))]
    height = float(rng.uniform(2, 6)) * look.storey
    lit = 1.08 if side != look.sun_side else 0.80
    opening = rng.random() < 0.22
    opening_label = ("sky", look.sky, "cloud") if rng.random() < 0.3 else ("vegetation", look.leaf, "leaves")
    period = look.storey

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        near, far = max(z_m, NEAREST_M - 1.0), z_m + length_m
        x_far = x_m + street.bend(far) - street.bend(z_m)
        end = x_m + side * 14.0
        front = camera.quad([(x_m, 0, near), (x_m, height, near), (end, height, near), (end, 0, near)])
        face = camera.quad([(x_m, 0, near), (x_m, height, near), (x_far, height, far), (x_far, 0, far)])
        shade = tuple(channel * lit for channel in color)
        outline = np.concatenate([face[3:4], face[2:3], face[1:2], front[2:4], face[0:1]])
        yield Paint(
            outline, (shade[0], shade[1], shade[2]), "building", "windows", 0.35, FOCAL * period / (0.5 * (near + far)), depth_m=near
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
            yield Paint(arch, opening_label[1], opening_label[0], opening_label[2], 0.3, 0.02, depth_m=b)

    return draw


def _barrier(rng: Rng, street: Street, label: str, length_m: float) -> Callable[[Camera, float, float], Iterable[Paint]]:
    height = float(rng.uniform(1.3, 2.6))
    color = _grey(rng, 70, 160, 20) if label == "wall" else _grey(rng, 40, 120, 15)
    texture = "bricks" if label == "wall" else "lattice"

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        near, far = max(z_m, NEAREST_M - 1.0), z_m + length_m
        x_far = x_m + street.bend(far) - street.bend(z_m)
        face = camera.quad(
            [(x_m, 0, near), (x_m, height, near), (0.5 * (x_m + x_far), height, 0.5 * (near + far)), (x_far, height, far), (x_far, 0, far)]
        )
        yield Paint(face, color, label, texture, 0.3, FOCAL * 0.5 / (0.5 * (near + far)), depth_m=near)

    return draw


def _line_sides(rng: Rng, street: Street) -> None:
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
                        Thing(x + side * float(rng.uniform(1.0, 5.0)), z + length * float(rng.random()) + 1.0, _tree(rng, street.look))
                    )
            z += length + float(rng.choice([0.0, 0.0, 3.0]))


# -------------------------------------------------------------------------------------------------- standing things


def _tree(rng: Rng, look: CityLook) -> Callable[[Camera, float, float], Iterable[Paint]]:
    bush = rng.random() < 0.3
    height = float(rng.uniform(1.0, 2.0) if bush else rng.uniform(4.5, 9.0))
    crown = shapes.blob(rng, int(rng.integers(11, 21)), 0.10)
    spread = float(rng.uniform(0.30, 0.42))
    color = (look.leaf[0] * float(rng.uniform(0.8, 1.25)), look.leaf[1] * float(rng.uniform(0.85, 1.15)), look.leaf[2])
    base = 0.0 if bush else 0.30

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        if not bush:
            trunk = camera.stand(shapes.box(-0.018, 0.0, 0.018, 0.45), x_m, z_m, height)
            yield Paint(trunk, (72.0, 60.0, 48.0), "vegetation", "leaves", 0.2, 0.01, depth_m=z_m)
        leaves = crown * (spread, (1.0 - base) / 2) + (0.0, base + (1.0 - base) / 2)
        yield Paint(camera.stand(leaves, x_m, z_m, height), color, "vegetation", "leaves", 0.38, 0.018, gradient=-0.25, depth_m=z_m)

    return draw


def _shadow(camera: Camera, x_m: float, z_m: float, width_m: float) -> Paint:
    center = camera.point(x_m, 0.0, z_m)
    rx, ry = FOCAL * width_m / 2 / z_m, max(0.004, FOCAL * 0.25 / z_m)
    return Paint(shapes.disc(10) * (rx, ry) + center, (0.5, 0.5, 0.52), texture="shade")


def _mast(rng: Rng, signs: tuple[str, ...]) -> Callable[[Camera, float, float], Iterable[Paint]]:
    height = float(rng.uniform(2.6, 4.2) if signs else rng.uniform(5.0, 8.0))
    half = float(rng.uniform(0.07, 0.13))
    color = _grey(rng, 60, 150)
    arm = not signs and rng.random() < 0.5
    bend = float(rng.uniform(1.0, 2.2))
    n_corners = int(rng.choice([3, 4, 10]))
    sign_color = [(190.0, 40.0, 40.0), (40.0, 70.0, 170.0), (225.0, 215.0, 70.0), (215.0, 215.0, 215.0)][int(rng.integers(4))]
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
        yield Paint(camera.stand(np.array(shaft), x_m, z_m, 1.0), color, "pole", "metal", 0.12, 0.01, depth_m=z_m)
        top = height
        for kind in signs:
            if kind == "traffic sign":
                plate = (
                    shapes.disc(n_corners, (0.0, top - radius), radius)
                    if n_corners != 4
                    else shapes.box(-radius, top - 1.5 * radius, radius, top)
                )
                yield Paint(camera.stand(plate, x_m, z_m, 1.0), sign_color, kind, "plain", 0.05, depth_m=z_m)
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
                yield Paint(camera.stand(case, x_m, z_m, 1.0), (38.0, 40.0, 38.0), kind, "plain", 0.1, depth_m=z_m)
                lamp = int(3 * abs(np.sin(100 * x_m)))
                lamp_color = [(230.0, 50.0, 40.0), (235.0, 180.0, 40.0), (60.0, 210.0, 110.0)][min(lamp, 2)]
                yield Paint(camera.stand(shapes.disc(8, (0.0, top - 0.22 - 0.32 * lamp), 0.11), x_m, z_m, 1.0), lamp_color, depth_m=z_m)
                top -= 1.4

    return draw


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
) -> Callable[[Camera, float, float], Iterable[Paint]]:
    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        yield _shadow(camera, x_m, z_m, width * height_m)
        yield Paint(
            camera.stand(outline, x_m, z_m, height_m, mirror=mirror), color, label, texture, 0.16, 0.03, gradient=-0.25, depth_m=z_m
        )
        for detail, detail_color in details:
            yield Paint(camera.stand(detail, x_m, z_m, height_m, mirror=mirror), detail_color, depth_m=z_m)
        if plate and z_m < 14.0:
            yield Paint(
                camera.stand(shapes.box(-0.17, 0.24, 0.17, 0.33), x_m, z_m, height_m), (215.0, 215.0, 205.0), "license plate", depth_m=z_m
            )

    return draw


_GLASS: Color = (42.0, 50.0, 58.0)
_TYRE: Color = (24.0, 24.0, 26.0)
_LAMP: Color = (200.0, 60.0, 50.0)


def _car(rng: Rng, *, from_side: bool) -> Callable[[Camera, float, float], Iterable[Paint]]:
    color, height = _any_color(rng), float(rng.uniform(1.4, 1.75))
    details: tuple[tuple[shapes.Outline, Color], ...]
    mirror = rng.random() < 0.5
    if from_side:
        details = (
            (np.array([(-0.95, 0.66), (-0.68, 0.92), (-0.28, 0.95), (0.24, 0.93), (0.58, 0.66)]), _GLASS),
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
    return _body(shapes.car_end(rng), "car", height, color, details, mirror=mirror, width=1.4, plate=rng.random() < 0.7)


def _truck(rng: Rng) -> Callable[[Camera, float, float], Iterable[Paint]]:
    from_side = rng.random() < 0.5
    details: tuple[tuple[shapes.Outline, Color], ...]
    if from_side:
        details = (
            (np.array([(0.62, 0.42), (0.62, 0.60), (0.86, 0.60), (0.99, 0.42)]), _GLASS),
            (shapes.disc(10, (-0.64, 0.12), 0.12), _TYRE),
            (shapes.disc(10, (0.77, 0.12), 0.12), _TYRE),
        )
    else:
        details = ((shapes.box(-0.37, 0.16, -0.02, 0.97), _grey(rng, 90, 200)), (shapes.box(0.02, 0.16, 0.37, 0.97), _grey(rng, 90, 200)))
    return _body(
        shapes.truck(rng, from_side=from_side),
        "truck",
        float(rng.uniform(2.7, 3.6)),
        _any_color(rng),
        details,
        mirror=rng.random() < 0.5,
        width=2.2 if from_side else 0.9,
    )


def _coach(rng: Rng, label: str) -> Callable[[Camera, float, float], Iterable[Paint]]:
    length, nose = (float(rng.uniform(2.4, 3.4)), 0.12) if label == "bus" else (float(rng.uniform(4.5, 7.0)), 0.75)
    half = length / 2
    panes = tuple(
        (shapes.box(float(left), 0.50, float(left) + 0.30, 0.82), _GLASS) for left in np.arange(-half + 0.12, half - nose - 0.3, 0.36)
    )
    stripe = ((shapes.box(-half, 0.26, half, 0.36), _any_color(rng)),)
    wheels = tuple((shapes.disc(10, (x, 0.1), 0.13), _TYRE) for x in (-half * 0.57, half * 0.57)) if label == "bus" else ()
    return _body(
        shapes.coach(rng, length=length, nose=nose),
        label,
        float(rng.uniform(2.9, 3.5)),
        _any_color(rng),
        (*stripe, *panes, *wheels),
        mirror=rng.random() < 0.5,
        width=length,
    )


def _person(rng: Rng) -> Callable[[Camera, float, float], Iterable[Paint]]:
    legs = _grey(rng, 20, 110, 25)
    details = (
        (np.array([(-0.10, 0.46), (-0.14, 0.02), (-0.04, 0.02), (0.0, 0.38), (0.04, 0.02), (0.14, 0.02), (0.10, 0.46)]), legs),
        (shapes.disc(8, (0.0, 0.92), 0.06), (180.0, 140.0, 115.0)),
    )
    return _body(
        shapes.person(rng),
        "person",
        float(rng.uniform(1.5, 1.95)),
        _any_color(rng),
        details,
        mirror=rng.random() < 0.5,
        width=0.5,
        texture="cloth",
    )


def _two_wheeler(rng: Rng, label: str, *, ridden: bool) -> Callable[[Camera, float, float], Iterable[Paint]]:
    mirror = rng.random() < 0.5
    height = float(rng.uniform(0.95, 1.1) if label == "bicycle" else rng.uniform(1.05, 1.25))
    if label == "bicycle":
        hub = ((shapes.disc(10, (-0.5, 0.33), 0.20), (105.0, 105.0, 105.0)), (shapes.disc(10, (0.5, 0.33), 0.20), (105.0, 105.0, 105.0)))
        machine = _body(shapes.bicycle(rng), label, height, _grey(rng, 20, 90, 20), hub, mirror=mirror, width=1.7, texture="lattice_dense")
    else:
        hub = ((shapes.disc(10, (-0.62, 0.26), 0.20), _TYRE), (shapes.disc(10, (0.60, 0.26), 0.20), _TYRE))
        machine = _body(shapes.motorcycle(rng), label, height, _any_color(rng), hub, mirror=mirror, width=1.9)
    if not ridden:
        return machine
    seat = _body(
        shapes.rider(rng),
        "rider",
        float(rng.uniform(1.25, 1.45)),
        _any_color(rng),
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


def _group(rng: Rng, label: str) -> Callable[[Camera, float, float], Iterable[Paint]]:
    outline = shapes.blob(rng, int(rng.integers(12, 22)), 0.12) * (1.6, 0.5) + (0.0, 0.5)
    color = _any_color(rng)
    height = 1.7 if label == "persongroup" else 1.3

    def draw(camera: Camera, x_m: float, z_m: float) -> Iterable[Paint]:
        yield Paint(camera.stand(outline, x_m, z_m, height), color, label, "cloth", 0.3, 0.02, depth_m=z_m)

    return draw


def _clutter(rng: Rng, label: str) -> Callable[[Camera, float, float], Iterable[Paint]]:
    outline = shapes.box(-0.35, 0.0, 0.35, 1.0) if label == "static" else shapes.blob(rng, 12, 0.15) * (0.5, 0.5) + (0.0, 0.5)
    return _body(outline, label, float(rng.uniform(0.8, 1.3)), _any_color(rng), (), mirror=False, width=0.8)


class _Placing:
    """Puts things into a street at drawn places."""

    def __init__(self, rng: Rng, street: Street) -> None:
        self.rng, self.street, self.look = rng, street, street.look
        self.half = street.look.road_half_m

    def add(self, x_m: float, z_m: float, draw: Callable[[Camera, float, float], Iterable[Paint]], speed: float = 0.0) -> None:
        self.street.things.append(Thing(x_m, z_m, draw, speed))

    def on_sidewalk(self) -> float:
        return float(self.rng.choice([-1.0, 1.0])) * (self.half + float(self.rng.uniform(0.4, self.look.sidewalk_m)))

    def on_road(self) -> float:
        return float(self.rng.uniform(-self.half, self.half))

    def in_lane(self) -> float:
        return float(self.rng.choice([-0.5, 0.5])) * self.half

    def depth(self, low: float = 4.5, high: float = 20.0) -> float:
        return float(low + (high - low) * self.rng.random() ** 1.3)


def _roadside(place: _Placing) -> None:
    rng = place.rng
    for _ in range(rng.poisson(place.look.trees)):
        place.add(place.on_sidewalk() * 1.05, place.depth(8.0, 40.0), _tree(rng, place.look))
    for side in (-1.0, 1.0):
        if rng.random() < 0.55:
            z = float(rng.uniform(6.0, 12.0))
            for _ in range(int(rng.integers(1, 6))):
                place.add(side * (place.half - 1.1), z, _car(rng, from_side=False))
                z += float(rng.uniform(5.2, 7.5))
        for _ in range(int(rng.integers(1, 4))):
            place.add(side * (place.half + 0.5), place.depth(6.0, 28.0), _mast(rng, _draw_signs(rng)))


def _draw_signs(rng: Rng) -> tuple[str, ...]:
    kind = rng.random()
    if kind < 0.25:
        return ("traffic light",)
    if kind < 0.55:
        return ("traffic sign",)
    return ("traffic light", "traffic sign") if kind < 0.62 else ()


def _traffic(place: _Placing) -> None:
    rng = place.rng
    for _ in range(rng.poisson(1.2)):
        place.add(place.in_lane(), place.depth(8.0, 34.0), _car(rng, from_side=False), 0.5)
    if rng.random() < 0.35:
        place.add(place.on_road(), place.depth(9.0, 22.0), _car(rng, from_side=True))
    if rng.random() < 0.15:
        place.add(place.in_lane(), place.depth(10.0, 26.0), _truck(rng))
    if rng.random() < 0.13:
        place.add(place.in_lane(), place.depth(13.0, 28.0), _coach(rng, "bus"))
    if rng.random() < 0.12:
        place.add(place.on_road(), place.depth(18.0, 32.0), _coach(rng, "train"))


def _people(place: _Placing) -> None:
    rng = place.rng
    for _ in range(rng.poisson(2.6)):
        place.add(place.on_sidewalk() if rng.random() < 0.8 else place.on_road(), place.depth(), _person(rng))
    for _ in range(rng.poisson(0.7)):
        place.add(place.on_sidewalk(), place.depth(5.0, 16.0), _two_wheeler(rng, "bicycle", ridden=False))
    if rng.random() < 0.30:
        place.add(place.on_road(), place.depth(6.0, 20.0), _two_wheeler(rng, "bicycle", ridden=True))
    if rng.random() < 0.25:
        place.add(place.on_road(), place.depth(6.0, 18.0), _two_wheeler(rng, "motorcycle", ridden=rng.random() < 0.5))


def _far_and_void(place: _Placing) -> None:
    rng = place.rng
    for label, share in (("persongroup", 0.15), ("cargroup", 0.15), ("bicyclegroup", 0.08)):
        if rng.random() < share:
            place.add(place.on_sidewalk(), place.depth(24.0, 40.0), _group(rng, label))
    for label, share in (("static", 0.35), ("dynamic", 0.20)):
        if rng.random() < share:
            place.add(place.on_sidewalk(), place.depth(6.0, 20.0), _clutter(rng, label))


def build_street(rng: Rng, look: CityLook) -> Street:
    """Draw one street of a city: ground, frontage, vehicles, people and clutter."""
    street = Street(look, curve=float(rng.normal(0.0, 0.0012)))
    street.ground = [_sky_and_skyline(rng, look), _carriageway(rng, street)]
    _line_sides(rng, street)
    for fill in (_roadside, _traffic, _people, _far_and_void):
        fill(_Placing(rng, street))
    return street
