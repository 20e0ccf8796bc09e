"""A charger as controllable system of LPC and LPP, and as monitored unit of MPC; or a site's energy manager. Pure.

A charger is one device with one entity, an EVSE, that stands for all its EVSEs. A site has a CEM, which shares limits
out over its chargers, and reports what a meter at the grid connection reads (MGCP). Both limits are in one LoadControl
feature, which one guard at a time binds; the heartbeats of that guard count. The failsafe duration is one for both
directions.
"""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from v2g import typed_json
from v2g.eebus import messages
from v2g.eebus.json_form import Element
from v2g.eebus.limitation import HEARTBEAT_S, LimitState, LimitWrite, PowerLimitation
from v2g.eebus.spine import HEARTBEAT, LocalFeature, Moment, PeerLink, Refusal, SpineDevice
from v2g.observe import Observe, Scalar
from v2g.text import printable

ENTITY: Final = (1,)
LIMITS: Final = "loadControlLimitListData"
KEYS: Final = "deviceConfigurationKeyValueListData"
MEASURED: Final = "measurementListData"
CONSUMPTION, PRODUCTION = 0, 1
"""Ids of limits, and of the failsafe keys beside them."""
DURATION: Final = 2
"""Key of the failsafe duration minimum."""
LEAST_FAILSAFE_S: Final = 7200
MOST_FAILSAFE_S: Final = 86_400
POWER: Final = 0
"""Id of the measurement of power, the first one."""
_NO_YEARS: Final = re.compile(r"^P(?:0+Y)?(?:0+M)?(?=.)")
_LONGEST_S: Final = 100 * 365 * 86_400.0


class MeasuredQuantity(NamedTuple):
    """What a measurement is of: its id is its place among those of the use case."""

    kind: Literal["power", "energy", "current", "voltage", "frequency"]
    unit: str
    scope: str
    phases: str | None = None
    digits: int = 0


OF_CHARGER: Final = (
    MeasuredQuantity("power", "W", "acPowerTotal", "abc"),
    MeasuredQuantity("energy", "Wh", "acEnergyConsumed"),
    MeasuredQuantity("energy", "Wh", "acEnergyProduced"),
)
"""MPC, scenarios 1 and 2; the last one of a charger with LPP."""
OF_CONNECTION: Final = (
    MeasuredQuantity("power", "W", "acPowerTotal", "abc"),
    MeasuredQuantity("energy", "Wh", "gridFeedIn"),
    MeasuredQuantity("energy", "Wh", "gridConsumption"),
    *(MeasuredQuantity("current", "A", "acCurrent", phase, 3) for phase in "abc"),
    *(MeasuredQuantity("voltage", "V", "acVoltage", phase, 1) for phase in "abc"),
    MeasuredQuantity("frequency", "Hz", "acFrequency", digits=3),
)
"""MGCP, scenarios 2 to 7."""


class HeldLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a guard has set, W as magnitude, and its end (UTC), if it has one. It lasts no longer than `left_s`
    from a restart on, if the clock was set back."""

    value_w: float
    until_ms: int | None = None
    left_s: float | None = None


class FailsafeValues(msgspec.Struct, frozen=True, kw_only=True):
    """What holds without a guard, W as magnitudes and s."""

    charge_w: float
    discharge_w: float
    duration_s: float = LEAST_FAILSAFE_S


class KeptValues(msgspec.Struct, frozen=True, kw_only=True):
    """What outlives restarts: the failsafe values that a guard has written (011/1, 013/1), None for one that it has
    not; and the limits that were in force: where they are lower, they hold until their end."""

    charge_w: float | None = None
    discharge_w: float | None = None
    duration_s: float | None = None
    held_charge: HeldLimit | None = None
    held_discharge: HeldLimit | None = None


class ChargerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the charger is. `address` is its SHIP id, too; nominal values in W; without `nominal_discharge_w` it offers
    no LPP."""

    address: str
    brand: str = ""
    model: str = ""
    serial: str = ""
    nominal_charge_w: int
    nominal_discharge_w: int | None = None
    autonomous: bool = False
    production_as_magnitude: bool = False
    """Read a positive limit of LPP as its magnitude (some boxes); else it is refused: LPP limits are ≤ 0."""
    site: bool = False
    """It is the energy manager of a site, and its nominal values are those of the contract."""


class _Way(msgspec.Struct, kw_only=True):
    """One direction: what its use case calls it, its sign on the wire, and its state."""

    use_case: Literal["LPC", "LPP"]
    limitation: PowerLimitation
    sign: int
    told: tuple[object, ...] = ()
    """What subscribers were told."""
    reported: tuple[LimitState, float | None]
    """The state and the limit in force that were reported."""

    @property
    def shown(self) -> tuple[object, ...]:
        """What changes a limit's data."""
        return self.limitation.active, self.limitation.value_w, self.limitation.ends_at


class ControllableSystem(SpineDevice):
    """See the module. After each call `charge_w`, `discharge_w`, `written_values` and `held` may have changed.

    `preset`: the failsafe values that hold until a guard writes others; `kept`: what was `kept` before a restart.
    """

    def __init__(
        self,
        facts: ChargerFacts,
        preset: FailsafeValues,
        observe: Callable[[Observe], None],
        at: Moment,
        kept: KeptValues | None = None,
    ) -> None:
        self.facts: Final = facts
        self._observe = observe
        self._preset = preset
        kept = kept or KeptValues()
        self.written_values = replace(kept, held_charge=None, held_discharge=None)
        """The failsafe values that a guard has written."""
        failsafe = self.failsafe

        def way(use_case: Literal["LPC", "LPP"], failsafe_w: float, held: HeldLimit | None) -> _Way:
            ends_at = None
            if held is not None and held.until_ms is not None:
                lasts_s = (held.until_ms - at.utc_ms) / 1000
                ends_at = at.s + (lasts_s if held.left_s is None else min(lasts_s, held.left_s))
            limitation = PowerLimitation(
                failsafe_w=failsafe_w,
                now=at.s,
                autonomous=facts.autonomous,
                held=None if held is None else (held.value_w, ends_at),
            )
            sign = 1 if use_case == "LPC" else -1
            return _Way(use_case=use_case, sign=sign, limitation=limitation, reported=(limitation.state, failsafe_w))

        self._ways = {CONSUMPTION: way("LPC", failsafe.charge_w, kept.held_charge)}
        if facts.nominal_discharge_w is not None:
            self._ways[PRODUCTION] = way("LPP", failsafe.discharge_w, kept.held_discharge)
        self._load = self._load_control()
        self._configuration = self._device_configuration()
        self._measurement = LocalFeature(at=(ENTITY, 5), type="Measurement", data=self._measurement_data())
        self._client = messages.Address(device=facts.address, entity=ENTITY, feature=6)
        self._heard: dict[str, Moment] = {}
        """The latest heartbeat of each connected peer, by SKI."""
        self._counters: dict[str, int] = {}
        """Its counter, also after the peer has gone."""
        super().__init__(
            facts.address,
            "EnergyManagementSystem" if facts.site else "ChargingStation",
            {(0,): "DeviceInformation", ENTITY: "CEM" if facts.site else "EVSE"},
            (
                LocalFeature(
                    at=((0,), 1),
                    type="DeviceClassification",
                    data={"deviceClassificationManufacturerData": _manufacturer(facts)},
                ),
                self._load,
                self._configuration,
                LocalFeature(at=(ENTITY, 3), type="DeviceDiagnosis", data={HEARTBEAT: Element()}),
                LocalFeature(at=(ENTITY, 4), type="ElectricalConnection", data=self._electrical_data()),
                self._measurement,
                LocalFeature(at=(ENTITY, 6), type="DeviceDiagnosis", role="client"),
            ),
            self._offered(facts),
            at,
        )
        self._settle(at)

    # -- what it is

    def _offered(self, facts: ChargerFacts) -> tuple[messages.UseCaseInformation, ...]:
        names = {"LPC": "limitationOfPowerConsumption", "LPP": "limitationOfPowerProduction"}
        limits = tuple(_use_case(names[way.use_case], 1, 2, 3, 4) for way in self._ways.values())
        address = messages.Address(device=facts.address, entity=ENTITY)
        monitored = _use_case("monitoringOfPowerConsumption", 1, 2)
        if facts.site:
            monitored = _use_case("monitoringOfGridConnectionPoint", 2, 3, 4, 5, 6, 7)
        return (
            messages.UseCaseInformation(address=address, actor="ControllableSystem", use_case_support=limits),
            messages.UseCaseInformation(
                address=address,
                actor="GridConnectionPoint" if facts.site else "MonitoredUnit",
                use_case_support=(monitored,),
            ),
        )

    def _load_control(self) -> LocalFeature:
        descriptions = tuple(
            messages.LimitDescription(
                limit_id=number,
                limit_type="signDependentAbsValueLimit",
                limit_category="obligation",
                limit_direction="consume" if number == CONSUMPTION else "produce",
                measurement_id=POWER,
                unit="W",
                scope_type="activePowerLimit",
            )
            for number in self._ways
        )
        return LocalFeature(
            at=(ENTITY, 1),
            type="LoadControl",
            data={
                "loadControlLimitDescriptionListData": messages.LimitDescriptionList(
                    load_control_limit_description_data=descriptions
                ),
                LIMITS: messages.LimitList(),
            },
            writable=(LIMITS,),
            one_binding=True,
        )

    def _device_configuration(self) -> LocalFeature:
        names = {CONSUMPTION: "failsafeConsumptionActivePowerLimit", PRODUCTION: "failsafeProductionActivePowerLimit"}
        keys = [
            messages.ConfigurationDescription(
                key_id=number, key_name=names[number], value_type="scaledNumber", unit="W"
            )
            for number in self._ways
        ]
        keys.append(
            messages.ConfigurationDescription(
                key_id=DURATION, key_name="failsafeDurationMinimum", value_type="duration"
            )
        )
        described = messages.ConfigurationDescriptionList(device_configuration_key_value_description_data=tuple(keys))
        return LocalFeature(
            at=(ENTITY, 2),
            type="DeviceConfiguration",
            data={"deviceConfigurationKeyValueDescriptionListData": described, KEYS: messages.ConfigurationList()},
            writable=(KEYS,),
        )

    def _electrical_data(self) -> dict[str, Element]:
        nominal = {CONSUMPTION: self.facts.nominal_charge_w, PRODUCTION: self.facts.nominal_discharge_w or 0}
        whose = "contractual" if self.facts.site else "power"
        kinds = {CONSUMPTION: f"{whose}ConsumptionNominalMax", PRODUCTION: f"{whose}ProductionNominalMax"}
        characteristics = tuple(
            messages.Characteristic(
                electrical_connection_id=0,
                parameter_id=POWER,
                characteristic_id=number,
                characteristic_context="entity",
                characteristic_type=kinds[number],
                value=messages.scaled(nominal[number]),
                unit="W",
            )
            for number in self._ways
        )
        connection = messages.ConnectionDescription(
            electrical_connection_id=0, power_supply_type="ac", positive_energy_direction="consume"
        )
        parameters = tuple(
            messages.ParameterDescription(
                electrical_connection_id=0,
                parameter_id=number,
                measurement_id=number,
                voltage_type="ac",
                ac_measured_phases=each.phases,
                ac_measured_in_reference_to="neutral" if each.kind == "voltage" else None,
                ac_measurement_type={"voltage": "apparent", "frequency": None}.get(each.kind, "real"),
                ac_measurement_variant="rms" if each.phases else None,
            )
            for number, each in enumerate(self._measured)
        )
        return {
            "electricalConnectionDescriptionListData": messages.ConnectionDescriptionList(
                electrical_connection_description_data=(connection,)
            ),
            "electricalConnectionParameterDescriptionListData": messages.ParameterDescriptionList(
                electrical_connection_parameter_description_data=parameters
            ),
            "electricalConnectionCharacteristicListData": messages.CharacteristicList(
                electrical_connection_characteristic_data=characteristics
            ),
        }

    @property
    def _measured(self) -> tuple[MeasuredQuantity, ...]:
        if self.facts.site:
            return OF_CONNECTION
        return OF_CHARGER if PRODUCTION in self._ways else OF_CHARGER[:-1]

    def _measurement_data(self) -> dict[str, Element]:
        described = tuple(
            messages.MeasurementDescription(
                measurement_id=number,
                measurement_type=each.kind,
                commodity_type="electricity",
                unit=each.unit,
                scope_type=each.scope,
            )
            for number, each in enumerate(self._measured)
        )
        bounds = messages.MeasurementConstraints(
            measurement_id=POWER,
            value_range_min=messages.scaled(-(self.facts.nominal_discharge_w or 0)),
            value_range_max=messages.scaled(self.facts.nominal_charge_w),
        )
        return {
            "measurementDescriptionListData": messages.MeasurementDescriptionList(
                measurement_description_data=described
            ),
            "measurementConstraintsListData": messages.MeasurementConstraintsList(
                measurement_constraints_data=(bounds,)
            ),
            MEASURED: messages.MeasurementList(),
        }

    # -- what holds

    @property
    def charge_w(self) -> float | None:
        """The limit of power from the grid; None for none."""
        return self._ways[CONSUMPTION].limitation.limit_w

    @property
    def discharge_w(self) -> float | None:
        """The limit of power into the grid; None for none, and without LPP."""
        return self._ways[PRODUCTION].limitation.limit_w if PRODUCTION in self._ways else None

    @property
    def held(self) -> tuple[tuple[float, float | None] | None, ...]:
        """What silence does not end, of each use case: a guard's limit and when it ends, s."""
        return tuple(way.limitation.held for way in self._ways.values())

    @property
    def failsafe(self) -> FailsafeValues:
        """The failsafe values."""
        preset, written = self._preset, self.written_values
        return FailsafeValues(
            charge_w=preset.charge_w if written.charge_w is None else written.charge_w,
            discharge_w=preset.discharge_w if written.discharge_w is None else written.discharge_w,
            duration_s=preset.duration_s if written.duration_s is None else written.duration_s,
        )

    def kept(self, at: Moment) -> KeptValues:
        """Return what outlives a restart."""
        found = [
            None
            if held is None
            else HeldLimit(
                value_w=held[0],
                until_ms=None if held[1] is None else at.utc_ms + round((held[1] - at.s) * 1000),
                left_s=None if held[1] is None else held[1] - at.s,
            )
            for held in (*self.held, None)
        ]
        return replace(self.written_values, held_charge=found[0], held_discharge=found[1])

    @property
    def states(self) -> dict[str, LimitState]:
        """The state of each use case, LPC and LPP."""
        return {way.use_case: way.limitation.state for way in self._ways.values()}

    @property
    def guard(self) -> PeerLink | None:
        """The connected peer that controls."""
        return self.bound(self._load)

    @property
    def due(self) -> float:
        dues = (way.limitation.due(self.failsafe.duration_s) for way in self._ways.values())
        return min((super().due, *(each for each in dues if each is not None)))

    def tick(self, at: Moment) -> None:
        """See SpineDevice: where no heartbeats come, it asks for them again."""
        super().tick(at)
        for link in self.links:
            if link.asked_at is not None and at.s >= max(link.asked_at, link.heard_at) + HEARTBEAT_S:
                self.follow_heartbeats(link, self._client, at)
        self._settle(at)

    def receive(self, link: PeerLink, payload: bytes, at: Moment) -> None:
        self._advance(at)
        super().receive(link, payload, at)
        self._settle(at)

    def disconnect(self, link: PeerLink) -> None:
        """See SpineDevice: the loss of the connection alone changes no limit."""
        super().disconnect(link)
        if all(each.ski != link.ski for each in self.links):
            self._heard.pop(link.ski, None)

    def measure(self, values: Sequence[float | None], at: Moment) -> None:
        """Set the measurements of the whole charger (OF_CHARGER), or at the connection of a site (OF_CONNECTION), in
        their order; power and currents positive from the grid, None if not measured."""
        before = self._measurement.data[MEASURED]
        data = tuple(
            messages.Measurement(
                measurement_id=number,
                value_type="value",
                timestamp=at.text,
                value=None if value is None else messages.scaled(value, each.digits),
                value_source="measuredValue",
                value_state="error" if value is None else "normal",
            )
            for number, (each, value) in enumerate(zip(self._measured, values, strict=False))
        )
        assert isinstance(before, messages.MeasurementList)
        if [each.value for each in before.measurement_data or ()] != [each.value for each in data or ()]:
            self.put(self._measurement, MEASURED, messages.MeasurementList(measurement_data=data))

    def _advance(self, at: Moment) -> None:
        for way in self._ways.values():
            way.limitation.tick(at.s, self.failsafe.duration_s)
            self._report(way)

    def _report(self, way: _Way) -> None:
        """Name what is in force once it is another."""
        before, now = way.reported, (way.limitation.state, way.limitation.limit_w)
        if now != before:
            way.reported, limit_w = now, now[1]
            shown: dict[str, Scalar] = {"use_case": way.use_case, "before": before[0].value}
            shown |= {"state": now[0].value, "limit_w": None if limit_w is None else round(limit_w)}
            self._observe(Observe("power", "eebus_state", shown))

    def _settle(self, at: Moment) -> None:
        """Advance the states, and tell subscribers what has changed."""
        self._advance(at)
        if any(way.shown != way.told for way in self._ways.values()):
            for way in self._ways.values():
                way.told = way.shown
            self.put(self._load, LIMITS, self._limits(at))
        keys = [
            messages.ConfigurationValue(
                key_id=number,
                value=messages.KeyValue(scaled_number=messages.scaled(way.limitation.failsafe_w)),
                is_value_changeable=True,
            )
            for number, way in self._ways.items()
        ]
        lasts = messages.KeyValue(duration=f"PT{round(self.failsafe.duration_s)}S")
        keys.append(messages.ConfigurationValue(key_id=DURATION, value=lasts, is_value_changeable=True))
        data = messages.ConfigurationList(device_configuration_key_value_data=tuple(keys))
        if data != self._configuration.data[KEYS]:
            self.put(self._configuration, KEYS, data)

    def _limits(self, at: Moment) -> messages.LimitList:
        limits = []
        for number, way in self._ways.items():
            ends_at = way.limitation.ends_at
            lasts = None if ends_at is None else messages.TimePeriod(end_time=f"PT{max(0, round(ends_at - at.s))}S")
            limits.append(
                messages.Limit(
                    limit_id=number,
                    is_limit_changeable=True,
                    is_limit_active=way.limitation.active,
                    time_period=lasts,
                    value=messages.scaled(way.sign * way.limitation.value_w),
                )
            )
        return messages.LimitList(load_control_limit_data=tuple(limits))

    def read(self, feature: LocalFeature, function: str, at: Moment) -> Element:
        """See SpineDevice: the duration of a limit is what is left of it."""
        return self._limits(at) if function == LIMITS else super().read(feature, function, at)

    # -- what peers say

    def discovered(self, link: PeerLink, at: Moment) -> None:
        self.follow_heartbeats(link, self._client, at)

    def informed(self, link: PeerLink, header: messages.Header, cmd: messages.Cmd, at: Moment) -> None:
        """See SpineDevice: a heartbeat. As the answer to a question it counts only if it is new: a guard that is gone
        silent still shows its last one."""
        beat = cmd.device_diagnosis_heartbeat_data
        if beat is None:
            return
        new = beat.heartbeat_counter is not None and self._counters.get(link.ski) != beat.heartbeat_counter
        if beat.heartbeat_counter is not None:
            self._counters[link.ski] = beat.heartbeat_counter
        if new or header.cmd_classifier == "notify":
            self._heard[link.ski], link.heard_at = at, at.s
            if (guard := self.guard) is not None and guard.ski == link.ski:
                self._hear(at)

    def related(self, link: PeerLink, feature: LocalFeature, *, binds: bool, at: Moment) -> None:
        """See SpineDevice: the heartbeats of who binds count, also those before."""
        super().related(link, feature, binds=binds, at=at)
        if binds and feature is self._load and (heard := self._heard.get(link.ski)) is not None:
            self._hear(heard)

    def _hear(self, at: Moment) -> None:
        for way in self._ways.values():
            way.limitation.heartbeat(at.s)

    def written(self, link: PeerLink, cmd: messages.Cmd, at: Moment) -> Refusal:
        refusal = self._write_limits(cmd, at) if cmd.name == LIMITS else self._write_keys(link, cmd)
        found: dict[str, Scalar] = {"ski": link.ski, "accepted": refusal.number == messages.OK, "reason": refusal.text}
        self._observe(Observe("power", "eebus_written", {**found, "values": _shown(cmd)}))
        return refusal

    def _write_limits(self, cmd: messages.Cmd, at: Moment) -> Refusal:
        assert cmd.load_control_limit_list_data is not None
        data = cmd.load_control_limit_list_data.load_control_limit_data or ()
        chosen = [each.load_control_limit_list_data_selectors for each in _partial(cmd)]
        selected = [each.limit_id for each in chosen if each is not None]
        items = {number: each for each in data for number in _concerned(each.limit_id, selected)}
        ended: set[int | None] = set()
        for each in cmd.filter or ():
            control, tags = each.cmd_control, each.load_control_limit_data_elements
            if control is None or control.delete is None:
                continue
            if tags is None or tags.time_period is None or tags.value is not None or tags.is_limit_active is not None:
                return Refusal(messages.NOT_COMBINED, "only the duration of a limit can be deleted")
            selector = each.load_control_limit_list_data_selectors
            ended |= set(self._ways) if selector is None or selector.limit_id is None else {selector.limit_id}
        wanted = items.keys() | (ended if len(ended) == 1 or not items else set())
        if not wanted or not wanted <= self._ways.keys():
            return Refusal(messages.REJECTED, "no such limit")
        writes: dict[int, LimitWrite] = {}
        for number in wanted:
            try:
                cleared = number in ended or not cmd.filter
                item = items.get(number, messages.Limit())
                writes[number or 0] = self._write_of(item, self._ways[number or 0], at, cleared=cleared)
            except msgspec.ValidationError as error:
                return Refusal(messages.REJECTED, str(error))
        reasons = {each: self._ways[each].limitation.refusal(write, at.s) for each, write in writes.items()}
        refused = any(reasons.values())
        for number, write in writes.items():  # all or none; a refused one still shows that a guard is there
            if bool(reasons[number]) is refused:
                way = self._ways[number]
                way.limitation.write(write, at.s)
                self._report(way)
        return Refusal(messages.REJECTED, next(filter(None, reasons.values()))) if refused else Refusal(messages.OK)

    def _write_of(self, item: messages.Limit, way: _Way, at: Moment, *, cleared: bool) -> LimitWrite:
        """Return a written limit as magnitude and duration. Raises ValidationError for an unreadable one."""
        value_w = None
        if item.value is not None:
            if item.value.number is None:
                raise msgspec.ValidationError("a value without a number")
            value_w = way.sign * item.value.value
            if way.sign < 0 and self.facts.production_as_magnitude:
                value_w = abs(value_w)
        lasts_s = math.inf if cleared else None
        if item.time_period is not None and item.time_period.end_time is not None:
            lasts_s = _lasts(item.time_period.end_time, at)
        if lasts_s == 0 and item.is_limit_active:  # to be ignored (implementation guideline of LPC 1.0.0, 2.2)
            raise msgspec.ValidationError(
                "a limit of 0 s is not activated; for one without an end, delete the duration"
            )
        return LimitWrite(value_w=value_w, active=item.is_limit_active, lasts_s=lasts_s)

    def _write_keys(self, link: PeerLink, cmd: messages.Cmd) -> Refusal:
        assert cmd.device_configuration_key_value_list_data is not None
        if (guard := self.guard) is None or guard.ski != link.ski:
            return Refusal(messages.REJECTED, "only the client that is bound to LoadControl sets failsafe values")
        if any(each.cmd_control is not None and each.cmd_control.delete is not None for each in cmd.filter or ()):
            return Refusal(messages.NOT_COMBINED, "keys cannot be deleted")
        values = self.written_values
        data = cmd.device_configuration_key_value_list_data.device_configuration_key_value_data or ()
        chosen = [each.device_configuration_key_value_list_data_selectors for each in _partial(cmd)]
        selected = [each.key_id for each in chosen if each is not None]
        for number, value in ((number, each.value) for each in data for number in _concerned(each.key_id, selected)):
            ways = self._ways.values() if number == DURATION else [self._ways[number]] if number in self._ways else []
            if not ways or value is None:
                return Refusal(messages.REJECTED, "no such key, or no value")
            if not any(way.limitation.guarded for way in ways):
                return Refusal(messages.REJECTED, "no heartbeat and limit before")
            if number == DURATION:
                try:
                    duration_s = _seconds(value.duration or "")
                except msgspec.ValidationError as error:
                    return Refusal(messages.REJECTED, str(error))
                if duration_s < LEAST_FAILSAFE_S:
                    return Refusal(messages.REJECTED, "shorter than 2 h")
                if duration_s > MOST_FAILSAFE_S:  # refused, and the maximum is set (022/5)
                    self._keep(replace(self.written_values, duration_s=MOST_FAILSAFE_S))
                    return Refusal(messages.REJECTED, "longer than 24 h")
                values = replace(values, duration_s=duration_s)
            elif value.scaled_number is None or value.scaled_number.number is None or value.scaled_number.value < 0:
                return Refusal(messages.REJECTED, "a failsafe limit is a number from 0 on")
            elif number == CONSUMPTION:
                values = replace(values, charge_w=value.scaled_number.value)
            else:
                values = replace(values, discharge_w=value.scaled_number.value)
        self._keep(values)
        return Refusal(messages.OK)

    def _keep(self, values: KeptValues) -> None:
        self.written_values = values
        failsafe = self.failsafe
        for number, way in self._ways.items():
            way.limitation.failsafe_w = failsafe.charge_w if number == CONSUMPTION else failsafe.discharge_w


def _partial(cmd: messages.Cmd) -> list[messages.Filter]:
    return [each for each in cmd.filter or () if each.cmd_control is not None and each.cmd_control.partial is not None]


def _concerned(identifier: int | None, selected: Sequence[int | None]) -> Sequence[int | None]:
    """Return which items written data is of: one without identifier is of those that a partial filter selects."""
    return selected if identifier is None and selected else (identifier,)


def _use_case(name: str, *scenarios: int) -> messages.UseCase:
    return messages.UseCase(
        use_case_name=name,
        use_case_version="1.0.0",
        use_case_available=True,
        scenario_support=scenarios,
        use_case_document_sub_revision="release",
    )


def _manufacturer(facts: ChargerFacts) -> messages.Manufacturer:
    return messages.Manufacturer(
        device_name=facts.model or "charger",
        device_code=facts.model or None,
        serial_number=facts.serial or None,
        vendor_name=facts.brand or None,
        brand_name=facts.brand or None,
    )


def _lasts(text: str, at: Moment) -> float:
    """Return the seconds until an end, a duration or a time. Raises ValidationError."""
    if text.startswith("P"):
        lasts_s = _seconds(text)
    else:
        try:
            end = typed_json.convert(text, datetime)
        except msgspec.ValidationError:
            raise msgspec.ValidationError("unreadable end") from None
        end = end if end.tzinfo else end.replace(tzinfo=UTC)
        lasts_s = end.timestamp() - at.utc_ms / 1000
        if lasts_s <= 0:
            raise msgspec.ValidationError("the end is over")
    if not 0 <= lasts_s <= _LONGEST_S:
        raise msgspec.ValidationError("the duration is out of range")
    return lasts_s


def _seconds(text: str) -> float:
    """Return an XML Schema duration, in which Java writes years and months of 0, too, in s. Raises ValidationError."""
    try:
        return typed_json.convert(_NO_YEARS.sub("P", text), timedelta).total_seconds()
    except msgspec.ValidationError:
        raise msgspec.ValidationError("unreadable duration") from None


def _shown(cmd: messages.Cmd) -> str:
    """Return what was written, for logs."""
    return printable(msgspec.json.encode(cmd.data).decode())[:400]
