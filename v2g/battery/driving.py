"""How a vehicle is driven, from its speed and its battery's power: strong accelerations, phantom braking, cold idling,
and the energy that its brakes take (R214).

No pedal, radar or brake pressure is among the signals. So phantom braking is what looks like it: a hard, short braking
at speed after which the vehicle is soon as fast as before, which nobody is behind another vehicle. What the brakes take
is what neither resistance nor battery took while the vehicle slowed down; on a slope that is wrong in both directions.
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.battery.sample import Sample

_GAP_MS: Final = 3000
"""Between samples of a vehicle that drives; nothing is counted over longer ones."""
_IDLE_GAP_MS: Final = 90_000
"""A vehicle at rest sends all values each minute."""
_WINDOW_MS: Final = 900
"""An acceleration is the mean over at least that."""
_AT_REST: Final = 0.3
"""m/s."""
_ONSET, _OVER = -0.3, -0.15
"""A braking begins and ends at these accelerations, m/s2."""
_AFTER_MS: Final = 12_000
"""After a phantom braking a vehicle is that soon as fast as before."""


class DrivingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vehicle, and what counts. Limits are tuned on fleets of `benchmarks.fleets.trips`, and held against others."""

    mass_kg: Annotated[float, Meta(gt=0, le=100_000, description="mass with its load, kg")] = 1900.0
    rolling_n: Annotated[float, Meta(gt=0, le=100_000, description="resistance at low speed, N")] = 210.0
    drag: Annotated[float, Meta(gt=0, le=100, description="resistance by the square of the speed, N s2/m2")] = 0.40
    recovered: Annotated[float, Meta(gt=0, le=1, description="share of recuperated energy that the battery gets")] = (
        0.85
    )
    strong: Annotated[float, Meta(gt=0, le=20, description="acceleration that is a strong one, m/s2")] = 2.95
    hard: Annotated[float, Meta(gt=0, le=20, description="deceleration that is a hard braking, m/s2")] = 2.0
    fast: Annotated[float, Meta(gt=0, le=100, description="speed from which on brakings may be phantoms, m/s")] = 15.0
    short_s: Annotated[float, Meta(gt=0, le=60, description="longest phantom braking, s")] = 4.5
    drop: Annotated[float, Meta(gt=0, le=50, description="least speed that a phantom braking takes, m/s")] = 1.5
    again: Annotated[float, Meta(gt=0, le=1, description="share of it that is soon regained")] = 0.7
    idle_w: Annotated[float, Meta(gt=0, le=100_000, description="power at rest that is more than standby, W")] = 700.0
    idle_s: Annotated[float, Meta(gt=0, le=86_400, description="shortest cold idling, s")] = 200.0
    cold_c: Annotated[float, Meta(ge=-60, le=60, description="outside temperature below which it is cold")] = 5.0


class Braking(msgspec.Struct, frozen=True):
    """A braking: since when, from which speed, the strongest deceleration, and the energy that brakes took (J)."""

    since_ms: int
    from_mps: float
    strongest: float
    taken_j: float


class DrivingState(msgspec.Struct, frozen=True):
    """What is known of the driving so far."""

    recent: tuple[tuple[int, float], ...] = ()
    """Time (ms) and speed (m/s) of the last samples."""
    power_w: float = 0.0
    km: float = 0.0
    driven_s: float = 0.0
    strong: int = 0
    is_strong: bool = False
    braking: Braking | None = None
    doubtful: tuple[int, float] | None = None
    """End (ms) of a braking that may be a phantom, and the speed that is regained if so."""
    phantoms: int = 0
    idle_since_ms: int | None = None
    idlings: int = 0
    idle_s: float = 0.0
    brakes_j: float = 0.0


def step(settings: DrivingSettings, state: DrivingState, sample: Sample, context: str) -> DrivingState:
    """Take a sample; one without speed, or not after the last one, changes nothing."""
    values, at_ms = sample.values, sample.at_ms
    if (kmh := values.get("vehicle.speed")) is None:
        return state
    speed, power_w = abs(kmh) / 3.6, battery_w(values)
    if not state.recent:
        return msgspec.structs.replace(state, recent=((at_ms, speed),), power_w=power_w)
    before_ms, before = state.recent[-1]
    if at_ms <= before_ms:
        return state
    at_rest = speed < _AT_REST and before < _AT_REST and at_ms - before_ms <= _IDLE_GAP_MS
    draws = -power_w >= settings.idle_w and context not in ("charging", "discharging")
    cold = values.get("ambient.temperature", settings.cold_c) < settings.cold_c
    since_ms, idlings, idle_s = state.idle_since_ms, state.idlings, state.idle_s
    if not (at_rest and draws and cold):
        since_ms = None
    elif since_ms is None:
        since_ms = before_ms
    if since_ms is not None and (ms := at_ms - since_ms) >= 1000 * settings.idle_s:
        begun = before_ms - since_ms < 1000 * settings.idle_s
        idlings, idle_s = idlings + begun, idle_s + (ms if begun else at_ms - before_ms) / 1000
    if at_ms - before_ms > _GAP_MS:
        return msgspec.structs.replace(
            state, recent=((at_ms, speed),), power_w=power_w, is_strong=False, braking=None, doubtful=None,
            idle_since_ms=since_ms, idlings=idlings, idle_s=idle_s,
        )  # fmt: skip
    seconds = (at_ms - before_ms) / 1000
    recent = (*state.recent, (at_ms, speed))
    while len(recent) > 2 and at_ms - recent[1][0] >= _WINDOW_MS:
        recent = recent[1:]
    rate = (speed - recent[0][1]) / ((at_ms - recent[0][0]) / 1000) if at_ms - recent[0][0] >= _WINDOW_MS else 0.0
    is_strong = rate >= (settings.strong / 2 if state.is_strong else settings.strong)
    braking, doubtful, phantoms, brakes_j = state.braking, state.doubtful, state.phantoms, state.brakes_j
    if doubtful is not None and (at_ms - doubtful[0] > _AFTER_MS or rate <= -settings.hard):
        doubtful = None
    if doubtful is not None and speed >= doubtful[1]:
        doubtful, phantoms = None, phantoms + 1
    if braking is not None or rate <= _ONSET:
        into_w = (max(0.0, power_w) + max(0.0, state.power_w)) / 2
        if braking is None:
            (begin_ms, begin), span_s = recent[0], (at_ms - recent[0][0]) / 1000
            braking = Braking(begin_ms, begin, 0.0, _taken_j(settings, begin, speed, into_w, span_s))
            taken_j = braking.taken_j
        else:
            slower = speed < before
            taken_j = braking.taken_j + (_taken_j(settings, before, speed, into_w, seconds) if slower else 0.0)
        braking = Braking(braking.since_ms, braking.from_mps, min(braking.strongest, rate), taken_j)
        if rate > _OVER or speed < _AT_REST:
            brakes_j += max(0.0, taken_j)
            if _may_be_phantom(settings, braking, at_ms, speed):
                doubtful = at_ms, speed + settings.again * (braking.from_mps - speed)
            braking = None
    return DrivingState(
        recent=recent,
        power_w=power_w,
        km=state.km + (speed + before) / 2 * seconds / 1000,
        driven_s=state.driven_s + (0.0 if at_rest else seconds),
        strong=state.strong + (is_strong and not state.is_strong),
        is_strong=is_strong,
        braking=braking,
        doubtful=doubtful,
        phantoms=phantoms,
        idle_since_ms=since_ms,
        idlings=idlings,
        idle_s=idle_s,
        brakes_j=brakes_j,
    )


def battery_w(values: Mapping[str, float]) -> float:
    """Return the battery's power (W), positive while it is charged; 0 if unknown."""
    power = values.get("battery.power")
    return power if power is not None else values.get("battery.current", 0.0) * values.get("battery.voltage", 0.0)


def _taken_j(settings: DrivingSettings, before: float, speed: float, into_w: float, seconds: float) -> float:
    """Return the energy of a vehicle that became slower that neither resistance nor battery (`into_w`) took, J."""
    mean = (before + speed) / 2
    lost_j = settings.mass_kg * (before**2 - speed**2) / 2
    resisted_j = (settings.rolling_n + settings.drag * mean**2) * mean * seconds
    return lost_j - resisted_j - into_w / settings.recovered * seconds


def _may_be_phantom(settings: DrivingSettings, braking: Braking, at_ms: int, speed: float) -> bool:
    return (
        braking.strongest <= -settings.hard
        and braking.from_mps >= settings.fast
        and at_ms - braking.since_ms <= 1000 * settings.short_s
        and braking.from_mps - speed >= settings.drop
        and speed > _AT_REST
    )
