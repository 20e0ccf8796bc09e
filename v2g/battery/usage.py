"""How a battery was used, sample by sample: charge and energy by purpose, time by temperature and current (R213)."""

from bisect import bisect_right
from typing import Final, Literal

import msgspec

from v2g.battery.cell import CellReading, PackModel, mean_a, reading
from v2g.battery.sample import Sample

Purpose = Literal["driving", "charging", "v2g", "parked"]
"""v2g: discharging into the grid, or charging in between."""

PURPOSES: Final[dict[str, Purpose]] = {
    "city": "driving", "highway": "driving", "charging": "charging", "discharging": "v2g", "parked": "parked",
}  # fmt: skip
"""By the context of records."""

TEMPERATURES_C: Final = (-20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 40.0, 45.0, 50.0, 60.0)
RATES: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
"""Between these are the bins of temperatures (degC), and of currents in multiples of the capacity (1/h)."""

COLD_C, HOT_C = TEMPERATURES_C[2], TEMPERATURES_C[7]
"""Beyond these temperatures are extreme: no maker's boundaries are known."""

DEEP, DEEP_CLEAR = 5.0, 10.0
"""State of charge (%) below which a deep discharge begins, and above which it has ended."""

LONGEST_S: Final = 600.0
"""Longer times without a record are unknown: gateways send all values each minute."""

_TEMPERATURE: Final = "battery.temperature.max"


class Throughput(msgspec.Struct, frozen=True):
    """What flowed for one purpose, and for how long."""

    seconds: float = 0.0
    charged_ah: float = 0.0
    discharged_ah: float = 0.0
    charged_wh: float = 0.0
    discharged_wh: float = 0.0


class UsageState(msgspec.Struct, frozen=True):
    """What is known of a battery's use."""

    first_ms: int = 0
    last: CellReading | None = None
    purpose: Purpose = "parked"
    temperature_c: float | None = None
    samples: int = 0
    unknown_s: float = 0.0
    """In gaps between records."""
    flows: dict[Purpose, Throughput] = {}
    temperature_s: tuple[float, ...] = (0.0,) * (len(TEMPERATURES_C) + 1)
    charge_rate_s: tuple[float, ...] = (0.0,) * (len(RATES) + 1)
    discharge_rate_s: tuple[float, ...] = (0.0,) * (len(RATES) + 1)
    hot_charging_s: float = 0.0
    cold_charging_s: float = 0.0
    deep_discharges: int = 0
    is_deep: bool = False


def step(pack: PackModel, state: UsageState, sample: Sample, context: str) -> UsageState:
    """Take a sample; one without current or voltage, or not after the last one, changes nothing."""
    now = reading(pack, sample)
    if now is None or (state.last is not None and now.at_ms <= state.last.at_ms):
        return state
    if state.last is None:
        state = msgspec.structs.replace(state, first_ms=now.at_ms)
    else:
        state = _elapsed(pack, state, state.last, now)
    soc = sample.values.get("battery.soc", 100.0)
    deep = soc < (DEEP_CLEAR if state.is_deep else DEEP)
    return msgspec.structs.replace(
        state,
        last=now,
        purpose=PURPOSES.get(context, "parked"),
        temperature_c=sample.values.get(_TEMPERATURE),
        samples=state.samples + 1,
        is_deep=deep,
        deep_discharges=state.deep_discharges + (deep and not state.is_deep),
    )


def _elapsed(pack: PackModel, state: UsageState, before: CellReading, now: CellReading) -> UsageState:
    """Return the state after the time between two readings, in which purpose and temperature were those before it."""
    seconds = (now.at_ms - before.at_ms) / 1000
    if seconds > LONGEST_S:
        return msgspec.structs.replace(state, unknown_s=state.unknown_s + seconds)
    current_a = mean_a(before, now)
    ah, volts = current_a * seconds / 3600, pack.cells * (before.cell_v + now.cell_v) / 2
    flow = state.flows.get(state.purpose, Throughput())
    flow = Throughput(
        flow.seconds + seconds,
        flow.charged_ah + max(0.0, ah),
        flow.discharged_ah + max(0.0, -ah),
        flow.charged_wh + max(0.0, ah * volts),
        flow.discharged_wh + max(0.0, -ah * volts),
    )
    rates = "charge_rate_s" if current_a > 0 else "discharge_rate_s"
    binned = {rates: _added(getattr(state, rates), bisect_right(RATES, abs(current_a) / pack.capacity_ah), seconds)}
    heat = state.temperature_c
    if heat is not None:
        binned["temperature_s"] = _added(state.temperature_s, bisect_right(TEMPERATURES_C, heat), seconds)
    charging_s = seconds if current_a > 0.01 * pack.capacity_ah else 0.0
    return msgspec.structs.replace(
        state,
        flows={**state.flows, state.purpose: flow},
        hot_charging_s=state.hot_charging_s + (charging_s if heat is not None and heat >= HOT_C else 0.0),
        cold_charging_s=state.cold_charging_s + (charging_s if heat is not None and heat < COLD_C else 0.0),
        **binned,
    )


def _added(seconds: tuple[float, ...], place: int, more: float) -> tuple[float, ...]:
    return (*seconds[:place], seconds[place] + more, *seconds[place + 1 :])
