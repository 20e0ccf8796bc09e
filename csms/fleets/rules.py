"""A fleet: vehicles at some stations that share one grid connection, planned together (R48 to R51, R55, R57).

Energies of a vehicle are relative to what it may give away at most: ISO 15118-20 sends what it needs and what it can
spare, not what is in its battery.
"""

import bisect
import itertools
from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from fractions import Fraction
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from csms.smart_charging.rules import Needs
from csms.transactions.rules import Transaction, net_wh
from v2g.energy.dispatch import problem
from v2g.energy.dispatch.earnings import wear_micro_per_kwh
from v2g.energy.dispatch.flexibility import FleetRange, VehicleRange, activate
from v2g.energy.dispatch.transformer import Transformer
from v2g.energy.grid_signal import GridSignal, Tariff
from v2g.energy.limits import MOST_W, Watts
from v2g.energy.settlement.pieces import zone_of
from v2g.errors import RefusedError
from v2g.units import HOUR_MS, QUARTER_MS, PositiveDecimals, UtcMs, micro_of

StationIds = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=48)], ...], Meta(max_length=10_000)]


class Peak(problem.PeakWindow, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A daily window of local time (minutes after midnight) in which less may be drawn, and vehicles give power back.

    `discharge_elsewhere`: whether they may do so at other times, too.
    """

    import_limit_w: Watts
    discharge_elsewhere: bool = False


class Forecast(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is expected from `start_ms` (UTC) until the next one: load beside the vehicles, generation, temperature."""

    start_ms: UtcMs
    load_w: Watts | None = None
    pv_w: Watts = 0
    temperature_c: problem.Celsius | None = None


class Fleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The vehicles at some stations, the limits of their grid connection, and what wear costs."""

    id: Annotated[str, Meta(min_length=1, max_length=60, description="Its name.")]
    stations: Annotated[StationIds | None, Meta(description="Its stations; null: all.")] = None
    import_limit_w: Annotated[
        Watts, Meta(description="Limit of the connection, W; the grid signal's applies, too.")
    ] = MOST_W
    export_limit_w: Annotated[Watts, Meta(description="The same for feed-in, W.")] = MOST_W
    evse_w: Annotated[Watts, Meta(description="The most that each EVSE gives or takes, W.")] = MOST_W
    load_w: Annotated[
        Watts, Meta(description="What the connection draws beside the vehicles, W, where `forecast` does not say.")
    ] = 0
    forecast: Annotated[
        tuple[Forecast, ...],
        Meta(
            max_length=3000,
            description="From `start_ms` on, until the next: `load_w`, `pv_w` (generation), `temperature_c`.",
        ),
    ] = ()
    transformer: Annotated[
        Transformer | None, Meta(description="`rated_va`, `power_factor`: bounds the import, too.")
    ] = None
    raise_w: Annotated[
        int, Meta(ge=1000, le=MOST_W, description="The most by which all set-points together rise every 2 s, W.")
    ] = MOST_W
    climate: Annotated[
        problem.Climate,
        Meta(description="Share of the power by temperature: `charge`, `discharge`; and what heat costs."),
    ] = problem.NO_CLIMATE
    peak: Annotated[
        Peak | None,
        Meta(
            description="Daily window (`from_minute`, `until_minute`) with a lower `import_limit_w`, in which vehicles "
            "give power back; at other times only with `discharge_elsewhere`."
        ),
    ] = None
    zone: Annotated[str, Meta(max_length=60, description="Time zone of the window.")] = "UTC"
    horizon_h: Annotated[int, Meta(ge=1, le=72, description="How far plans reach, h, as far as prices are known.")] = 24
    charge_efficiency: Annotated[problem.Efficiency, Meta(description="From the grid to the battery.")] = 0.95
    discharge_efficiency: Annotated[problem.Efficiency, Meta(description="From the battery to the grid.")] = 0.95
    battery_price_per_kwh: Annotated[
        PositiveDecimals, Meta(description="Price of a kWh of capacity, for the cost of wear.")
    ] = "100"
    loss_percent: Annotated[float, Meta(ge=0, le=10, description="Capacity that 100 cycles cost, %.")] = 0.4
    gate_closure_s: Annotated[
        int, Meta(ge=0, le=172_800, description="Bids are given so long before their period at the latest, s.")
    ] = 3_600
    headroom: Annotated[
        float, Meta(ge=0, lt=1, description="Share of what vehicles can do that is kept for departures and refusals.")
    ] = 0.1
    active: Annotated[bool, Meta(description="Vehicles follow the plan; otherwise it can only be read.")] = True

    def __post_init__(self) -> None:
        """Reject a forecast without order."""
        if any(after.start_ms <= before.start_ms for before, after in itertools.pairwise(self.forecast)):
            raise ValueError("starts of a forecast must rise")

    @property
    def tzinfo(self) -> tzinfo:
        """Its time zone. Raises RefusedError (`unknown_zone`) for one that this machine does not know."""
        try:
            return zone_of(self.zone)
        except ValueError as error:
            hint = "such as Europe/Berlin"
            raise RefusedError(str(error), reason="unknown_zone", hint=hint) from None

    def expected(self, at_ms: int) -> Forecast:
        """Return what is expected at a time (UTC ms)."""
        index = bisect.bisect_right(self.forecast, at_ms, key=lambda each: each.start_ms)
        found = self.forecast[index - 1] if index else Forecast(start_ms=0)
        return found if found.load_w is not None else msgspec.structs.replace(found, load_w=self.load_w)

    def base_w(self, at_ms: int) -> int | None:
        """Return what its connection is to draw beside the vehicles at a time, W; None if nothing is known of that."""
        known = self.load_w or any(each.load_w is not None or each.pv_w for each in self.forecast)
        found = self.expected(at_ms)
        return (found.load_w or 0) - found.pv_w if known else None

    def concerns(self, station_id: str) -> bool:
        """Return whether a station belongs to it."""
        return self.stations is None or station_id in self.stations


class FleetCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the fleet's flexibility: `power_w` less into the vehicles (negative: more) than planned, for a time.

    `planned_w`: each vehicle's plan when the call began, which it is measured against.
    """

    power_w: int
    from_ms: int
    until_ms: int
    planned_w: dict[str, int]
    bid_id: str = ""
    """The bid that it calls; empty: none."""
    earlier: tuple["FleetCall", ...] = ()
    """Calls before it that are over, whose meters have not been read since."""


class FleetBid(msgspec.Struct, frozen=True, kw_only=True):
    """A bid that a fleet has given: `power_w` less into the vehicles (`up`) or more (`down`) than planned, in a period,
    at a price per kWh. It could be given and withdrawn until its gate closed.

    `called_w`: what was called of it, 0 before; `asked_wh` and `delivered_wh`: when the call has ended (`settled`), and
    `paid_micro`: for what was delivered of it at most, in micro-units, positive to the fleet.
    """

    id: str
    fleet_id: str
    start_ms: int
    end_ms: int
    direction: Literal["up", "down"]
    power_w: int
    price_micro_per_kwh: int
    gate_closure_ms: int
    called_w: int = 0
    settled: bool = False
    asked_wh: int = 0
    delivered_wh: int = 0
    paid_micro: int = 0

    def settle(self, asked_wh: int, delivered_wh: int) -> "FleetBid":
        """Return it with what was delivered when its call ended, Wh, positive for up: nobody pays for more than asked,
        or for the opposite. Down is paid by the fleet: it takes energy."""
        sign = 1 if self.direction == "up" else -1
        paid_wh = max(0, min(sign * asked_wh, sign * delivered_wh))
        return msgspec.structs.replace(
            self,
            settled=True,
            asked_wh=abs(asked_wh),
            delivered_wh=sign * delivered_wh,
            paid_micro=sign * round(Fraction(paid_wh * self.price_micro_per_kwh, 1000)),
        )


def vehicle_id(station_id: str, transaction_id: str) -> str:
    """Return the name of a vehicle in plans."""
    return f"{station_id}/{transaction_id}"


def fleet_vehicle(fleet: Fleet, transaction: Transaction, needs: Needs) -> problem.FleetVehicle | None:
    """Return a vehicle for a plan, None if it has not sent how much power it takes."""
    if not needs.most_w:
        return None
    moved_wh = net_wh(transaction) - needs.net_wh
    stored_wh = moved_wh * fleet.charge_efficiency if moved_wh > 0 else moved_wh / fleet.discharge_efficiency
    spare_wh, wanted_wh = max(0, -needs.least_wh), max(0, needs.energy_wh, needs.least_wh)
    capacity_wh = max(1, spare_wh + max(needs.most_wh, wanted_wh))
    return problem.FleetVehicle(
        id=vehicle_id(transaction.station_id, transaction.transaction_id),
        energy_wh=max(0, min(capacity_wh, spare_wh + round(stored_wh))),
        capacity_wh=capacity_wh,
        target_wh=spare_wh + wanted_wh,
        charge_w=min(fleet.evse_w, needs.most_w),
        discharge_w=min(fleet.evse_w, needs.most_discharge_w) if needs.bidirectional and spare_wh else 0,
        charge_efficiency=fleet.charge_efficiency,
        discharge_efficiency=fleet.discharge_efficiency,
        wear_micro_per_kwh=wear_micro_per_kwh(micro_of(fleet.battery_price_per_kwh), loss_percent=fleet.loss_percent),
        departure_ms=needs.departure_ms or None,
        priority=needs.priority,
    )


def fleet_problem(
    fleet: Fleet, vehicles: Iterable[tuple[Transaction, Needs]], signal: GridSignal | None, now_ms: int
) -> problem.DispatchProblem:
    """Return what the fleet's plan is made from. Raises RefusedError (`no_price`) without prices for now."""
    if signal is None:
        raise RefusedError(f"fleet {fleet.id}: there is no grid signal, so no prices", reason="no_price")
    found = tuple(each for each in (fleet_vehicle(fleet, *needs) for needs in vehicles) if each)
    until_ms = now_ms + fleet.horizon_h * HOUR_MS
    if found and all(each.departure_ms for each in found):  # nobody is there afterwards
        last_ms = max(now_ms, *(each.departure_ms or 0 for each in found))
        until_ms = min(until_ms, (last_ms // QUARTER_MS + 1) * QUARTER_MS)
    return problem.DispatchProblem(
        periods=_periods(fleet, signal, now_ms, until_ms), vehicles=found, climate=fleet.climate
    )


def _periods(fleet: Fleet, signal: GridSignal, now_ms: int, until_ms: int) -> tuple[problem.Period, ...]:
    tariff = signal.tariff()
    tariff.price_at(now_ms)
    periods = problem.make_periods(
        tariff,
        now_ms,
        min(until_ms, _priced_until(tariff, now_ms)),
        import_limit_w=min(fleet.import_limit_w, signal.site_import_limit_w),
        export_limit_w=min(fleet.export_limit_w, signal.export_limit_w),
    )
    periods = tuple(_expected(fleet, each, signal.valid_until_ms) for each in periods)
    if fleet.peak is None:
        return periods
    return problem.shave_peak(
        periods,
        fleet.peak,
        fleet.tzinfo,
        import_limit_w=fleet.peak.import_limit_w,
        discharge_elsewhere=fleet.peak.discharge_elsewhere,
    )


def _expected(fleet: Fleet, period: problem.Period, valid_until_ms: int) -> problem.Period:
    """Return a period with the forecast for its start, the transformer's limit, and export only while it is allowed."""
    expected = fleet.expected(period.start_ms)
    load_w = expected.load_w or 0
    import_limit_w = period.import_limit_w
    if fleet.transformer is not None:
        base_w = load_w - expected.pv_w
        import_limit_w = min(import_limit_w, max(0, base_w + fleet.transformer.limit_w(base_w=base_w)))
    valid = period.end_ms <= valid_until_ms
    return msgspec.structs.replace(
        period,
        import_limit_w=import_limit_w,
        export_limit_w=period.export_limit_w if valid else 0,
        load_w=load_w,
        pv_w=expected.pv_w,
        temperature_c=expected.temperature_c,
        discharge=valid,
    )


def _priced_until(tariff: Tariff, now_ms: int) -> int:
    """Return the end of the prices that follow each other without a gap from now on."""
    ahead = [slot for slot in tariff.slots if slot.end_ms > now_ms]
    for before, after in itertools.pairwise(ahead):
        if after.start_ms > before.end_ms:
            return before.end_ms
    return ahead[-1].end_ms


def called(call: FleetCall, present: FleetRange) -> dict[str, int]:
    """Return the set-points (W) by which vehicles answer a call, from what each can do now around its plan of then.

    Others take over the part of a vehicle that has left.
    """
    ranges, gone = [], call.planned_w.keys() - {each.id for each in present.vehicles}
    for each in present.vehicles:
        planned_w = call.planned_w.get(each.id)
        if planned_w is not None:
            least_w, most_w = each.planned_w - each.up_w, each.planned_w + each.down_w
            planned_w = max(least_w, min(most_w, planned_w))
            ranges.append(
                VehicleRange(id=each.id, planned_w=planned_w, up_w=planned_w - least_w, down_w=most_w - planned_w)
            )
    ranges += [VehicleRange(id=name, planned_w=call.planned_w[name]) for name in gone]
    return activate(call.power_w, ranges, gone=gone)


def describe_call(call: FleetCall, zone: tzinfo) -> str:
    """Return a call as a sentence."""
    until = datetime.fromtimestamp(call.until_ms / 1000, zone)
    word = "less" if call.power_w >= 0 else "more"
    return (
        f"Called until {until:%H:%M}: vehicles draw {abs(call.power_w) / 1000:.1f} kW {word} than planned when the "
        "call began, and follow the plan afterwards."
    )


def delivered_wh(call: FleetCall, moved: Mapping[str, tuple[int, int]]) -> int:
    """Return the energy by which a call was answered, Wh: planned less measured, of each vehicle until when its energy
    is known (`transactions.store.net_energy`): nobody is paid for what no meter has read."""
    return round(
        sum(
            call.planned_w[name] * (known_ms - call.from_ms) / HOUR_MS - moved_mwh / 1000
            for name, (moved_mwh, known_ms) in moved.items()
        )
    )


def known_sum(values: Iterable[int | None]) -> int | None:
    """Return the sum of the values that are known, None if none is."""
    known = [each for each in values if each is not None]
    return sum(known) if known else None
