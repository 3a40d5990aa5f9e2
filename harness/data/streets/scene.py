"""Draw one street of a city: how often everything occurs, and where it stands."""

from __future__ import annotations

from harness.data.streets.frontage import carriageway, line_sides, mast, sky_and_skyline, tree
from harness.data.streets.street import CityLook, Draw, Rng, Street, Thing
from harness.data.streets.traffic import car, clutter, coach, group, person, truck, two_wheeler


class _Placing:
    """Puts things into a street at drawn places."""

    def __init__(self, rng: Rng, street: Street) -> None:
        self.rng, self.street, self.look = rng, street, street.look
        self.half = street.look.road_half_m

    def add(self, x_m: float, z_m: float, draw: Draw, speed: float = 0.0) -> None:
        self.street.things.append(Thing(x_m, z_m, draw, speed))

    def on_sidewalk(self) -> float:
        return float(self.rng.choice([-1.0, 1.0])) * (
            self.half + float(self.rng.uniform(0.4, self.look.sidewalk_m))
        )

    def on_road(self) -> float:
        return float(self.rng.uniform(-self.half, self.half))

    def in_lane(self) -> float:
        return float(self.rng.choice([-0.5, 0.5])) * self.half

    def depth(self, low: float = 4.5, high: float = 20.0) -> float:
        return float(low + (high - low) * self.rng.random() ** 1.3)


def _roadside(place: _Placing) -> None:
    rng = place.rng
    for _ in range(rng.poisson(place.look.trees)):
        place.add(place.on_sidewalk() * 1.05, place.depth(8.0, 40.0), tree(rng, place.look))
    for side in (-1.0, 1.0):
        if rng.random() < 0.55:
            z = float(rng.uniform(6.0, 12.0))
            for _ in range(int(rng.integers(1, 6))):
                place.add(side * (place.half - 1.1), z, car(rng, from_side=False))
                z += float(rng.uniform(5.2, 7.5))
        for _ in range(int(rng.integers(1, 4))):
            place.add(
                side * (place.half + 0.5), place.depth(6.0, 28.0), mast(rng, _draw_signs(rng))
            )


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
        place.add(place.in_lane(), place.depth(8.0, 34.0), car(rng, from_side=False), 0.5)
    if rng.random() < 0.35:
        place.add(place.on_road(), place.depth(9.0, 22.0), car(rng, from_side=True))
    if rng.random() < 0.15:
        place.add(place.in_lane(), place.depth(10.0, 26.0), truck(rng))
    if rng.random() < 0.13:
        place.add(place.in_lane(), place.depth(13.0, 28.0), coach(rng, "bus"))
    if rng.random() < 0.12:
        place.add(place.on_road(), place.depth(18.0, 32.0), coach(rng, "train"))


def _people(place: _Placing) -> None:
    rng = place.rng
    for _ in range(rng.poisson(2.6)):
        place.add(
            place.on_sidewalk() if rng.random() < 0.8 else place.on_road(),
            place.depth(),
            person(rng),
        )
    for _ in range(rng.poisson(0.7)):
        place.add(
            place.on_sidewalk(), place.depth(5.0, 16.0), two_wheeler(rng, "bicycle", ridden=False)
        )
    if rng.random() < 0.30:
        place.add(place.on_road(), place.depth(6.0, 20.0), two_wheeler(rng, "bicycle", ridden=True))
    if rng.random() < 0.25:
        place.add(
            place.on_road(),
            place.depth(6.0, 18.0),
            two_wheeler(rng, "motorcycle", ridden=rng.random() < 0.5),
        )


def _far_and_void(place: _Placing) -> None:
    rng = place.rng
    for label, share in (("persongroup", 0.15), ("cargroup", 0.15), ("bicyclegroup", 0.08)):
        if rng.random() < share:
            place.add(place.on_sidewalk(), place.depth(24.0, 40.0), group(rng, label))
    for label, share in (("static", 0.35), ("dynamic", 0.20)):
        if rng.random() < share:
            place.add(place.on_sidewalk(), place.depth(6.0, 20.0), clutter(rng, label))


def build_street(rng: Rng, look: CityLook) -> Street:
    """Draw one street of a city: ground, frontage, vehicles, people and clutter."""
    street = Street(look, curve=float(rng.normal(0.0, 0.0012)))
    street.ground = [sky_and_skyline(rng, look), carriageway(rng, street)]
    line_sides(rng, street)
    for fill in (_roadside, _traffic, _people, _far_and_void):
        fill(_Placing(rng, street))
    return street
