"""The half of a session that minds power and books: limits, offers, output, and an end that always stops first."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from secc.session import ports
from secc.session.config import ControlMode, SeccConfig
from secc.session.d20 import loop, wpt
from secc.session.d20.request_context import Identity, Notice, Parking, RequestContext, Trust
from secc.session.d20.stages import (
    Charging,
    Contract,
    Finished,
    Fresh,
    Parametrised,
    Paused,
    Planned,
    Selected,
    Stopped,
    Stopping,
    Vehicle,
    parametrised_of,
    selected_of,
)
from secc.session.discharge import SignedDischarge
from v2g.energy.limits import (
    EVSE,
    NO_RESPONSE,
    VEHICLE,
    WISH,
    GridResponse,
    Limit,
    LimitBook,
    Setpoint,
    choose_setpoint,
    wish_limit,
)
from v2g.energy.settlement.records import SessionStarted, TariffSet, limit_record
from v2g.energy.tariff import Tariff
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.schedules import AbsolutePriceSchedule, PriceLevelSchedule
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.engine.session import Command, Entropy, Heard
from v2g.observe import Observe

NOTICES: Final = (
    "Terminate",
    "Pause",
    "ServiceRenegotiation",
    "ExitStandby",
    "ScheduleRenegotiation",
    "MeteringConfirmation",
)
"""What a vehicle can be told, the most urgent first."""

NOTICE_S: Final = 60.0
"""How long a vehicle may take to follow a notice; after that it is ended (Terminate) or not asked any longer."""

SETTLING_S: Final = 1.0
"""How long an offer waits for the rest of a grid signal whose limits have arrived; limits are obeyed at once."""

SIGNING_S: Final = 5.0
"""How long a pause waits for the vehicle's signature under what has flowed."""

STOPPED_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "vehicle": "Local",
        "unplugged": "EVDisconnected",
        "pilot_lost": "EVDisconnected",
        "pre_charge_timeout": "Timeout",
        "connection_lost": "EVDisconnected",
        "link_lost": "EVDisconnected",
        "sequence_timeout": "Timeout",
        "ongoing_timeout": "Timeout",
        "remote": "Remote",
        "reset": "ImmediateReset",
        "energy_limit": "EnergyLimitReached",
        "time_limit": "TimeLimitReached",
        "soc_limit": "SOCLimitReached",
        "emergency_stop": "EmergencyStop",
        "isolation_low": "GroundFault",
        "cable_check_failed": "GroundFault",
        "over_current": "OvercurrentFault",
        "energy_transfer_rejected": "ReqEnergyTransferRejected",
    }
)
"""Our word for why a session ended -> OCPP's ReasonEnum; anything else is Other."""


class PowerControl(Session20):
    """See `SeccSession`, which adds requests and facts."""

    _doomed = ""
    """Why the session is over though the vehicle has not been told."""

    def __init__(
        self,
        config: SeccConfig,
        *,
        trust: Trust,
        identity: Identity,
        entropy: Entropy,
        limits: Iterable[Limit] = (),
        tariff: Tariff | None = None,
        setpoint: Setpoint | None = None,
        meter: ports.MeterRead | None = None,
        pilot: PilotState | None = None,
        time_scale: float = 1.0,
        paused: Paused | None = None,
        vehicle_certificate: bytes = b"",
        tls: bool = True,
        can_install: bool = False,
        can_plan: bool = False,
        foreseen: Iterable[Limit] = (),
        told_prices: AbsolutePriceSchedule | PriceLevelSchedule | None = None,
        response: GridResponse = NO_RESPONSE,
        heard: Heard = lambda _message, _type: None,
    ) -> None:
        super().__init__(entropy=entropy, heard=heard)
        self._config, self._trust, self._identity = config, trust, identity
        charge_w, discharge_w = config.power_rating(config.services[0].family)
        self._limits = LimitBook((Limit(source=EVSE, charge_w=charge_w, discharge_w=discharge_w), *limits))
        self._tariff, self._setpoint, self._meter, self._pilot = tariff, setpoint, meter, pilot
        self._meter_begin = (meter.import_mwh, meter.export_mwh) if meter else (0, 0)
        self._time_scale = time_scale
        self._paused, self._vehicle_certificate, self._tls = paused, vehicle_certificate, tls
        self._parking = Parking()
        self._can_install, self._can_plan = can_install, can_plan
        self._foreseen, self._response = tuple(foreseen), response
        self._told_prices = told_prices
        self._measured = ports.Measured(voltage_mv=0, current_ma=0)
        self._device = ports.Device()
        self._stage: Any = Fresh()
        self._notices: dict[str, Notice] = {}
        self._discharge: SignedDischarge | None = None
        self._powered = self._books_open = self._transaction = self._settled = self._stopping = False
        self._ready = True
        self._vehicle: Vehicle | None = None
        self._noted_w = -1
        self._stop_reason = "vehicle"
        self._allowed: frozenset[int] | None = None
        self._reported: ports.ReportChargingNeeds | None = None
        self._asked_anew = False
        """Whether the vehicle was asked to agree on a schedule anew, and has not yet."""

    @property
    def stage(self) -> Any:
        """How far the session has come, and what it knows there (`secc.session.d20.stages`)."""
        return self._stage

    @property
    def vehicle(self) -> Vehicle | None:
        """What the vehicle last said that it bears, and its state of charge."""
        return self._vehicle

    @property
    def scheduled(self) -> bool:
        """Whether the vehicle follows a schedule, which other limits and prices make obsolete."""
        selected = self._selected()
        return selected is not None and selected.control_mode is ControlMode.SCHEDULED

    @property
    def bidirectional(self) -> bool:
        """Whether energy may flow back, as far as services are selected."""
        selected = self._selected()
        return selected is None or selected.bidirectional

    def _at(self, now: float, utc_ms: int) -> bool:
        """Let UTC run on when the clock is set back: the books do not go back, and no command lives longer for it."""
        run_on = self._utc_ms + int((now - self._now) * 1000 * self._time_scale) if self._utc_ms else 0
        return super()._at(now, max(utc_ms, run_on))

    # -- the request's context ---------------------------------------------------------------------------------

    def _request_context(self, *, waited: bool) -> RequestContext:
        setpoint = self._setpoint and choose_setpoint((self._setpoint,), self._utc_ms)
        return RequestContext(
            config=self._config,
            family=self.family,
            trust=self._trust,
            identity=self._identity,
            now=self._now,
            utc_ms=self._utc_ms,
            entropy=self._entropy,
            header=self._header(),
            station=self._limits.effective(self._utc_ms, without=VEHICLE),  # whose book entry is of the last request
            limits=(*self._limits.all, *self._wished(setpoint), *self._foreseen),
            setpoint_w=setpoint.power_w if setpoint else None,
            signed_w=self._discharge.signed_w(self._utc_ms) if self._discharge else 0,
            tariff=self._tariff,
            measured=self._measured,
            device=self._device,
            pilot=self._pilot,
            meter=self._meter,
            meter_begin=self._meter_begin,
            notice=self._notice(),
            paused=self._paused,
            vehicle_certificate=self._vehicle_certificate,
            tls=self._tls,
            parking=self._parking,
            powered=self._powered,
            stopping=self._stopping,
            ready=self._ready,
            books_open=self._books_open,
            waited=waited,
            exi=self.newest.exi,
            can_install=self._can_install,
            can_plan=self._can_plan,
            allowed=self._allowed,
            told_prices=self._told_prices,
            response=self._response,
        )

    def _wished(self, setpoint: Setpoint | None) -> Iterable[Limit]:
        """Bound schedules by the wish of now, where one is known for now or for later: there energy flows by the
        schedule, and not by a command (Q03)."""
        if setpoint is None and not any(each.source == WISH for each in self._foreseen):
            return ()
        power_w = None if setpoint is None else setpoint.power_w
        return (wish_limit(power_w),)

    def _notice(self) -> Notice | None:
        for name in NOTICES if self._notices else ():
            notice = self._notices.get(name)
            ahead = self._notices.get("MeteringConfirmation") if name == "Pause" and notice is not None else None
            if ahead is not None and ahead.ahead_until > self._now:
                return ahead
            if notice is not None and (notice.until > self._now or name == "Terminate"):
                return notice
        return None

    def _ask_pause(self) -> None:
        """Ask for a pause, and before for a signature under what has flowed: a vehicle that rests signs nothing."""
        if self._is_unsigned():
            if "MeteringConfirmation" not in self._notices:
                self._notify("MeteringConfirmation")
            wanted = self._notices["MeteringConfirmation"]
            self._notices["MeteringConfirmation"] = msgspec.structs.replace(wanted, ahead_until=self._now + SIGNING_S)
        self._notify("Pause")

    def _is_unsigned(self) -> bool:
        """Whether the vehicle can sign what the meter shows, and has not yet."""
        stage, meter = self._stage, self._meter
        if not isinstance(stage, Charging) or meter is None or self._contract() is None:
            return False
        if not self._config.metering_confirmation:
            return False
        now, begin = (meter.import_mwh, meter.export_mwh), self._meter_begin
        signed = stage.confirmed
        known = (signed.charged_energy_reading_wh, signed.bpt_discharged_energy_reading_wh or 0) if signed else (0, 0)
        return (now[0] - begin[0]) // 1000 != known[0] or (now[1] - begin[1]) // 1000 != known[1]

    def _notify(self, notification: str) -> None:
        before = self._notices.get(notification)
        ahead_until = before.ahead_until if before is not None else 0.0
        self._notices[notification] = Notice(notification, self._now + NOTICE_S, ahead_until)
        self._asked_anew = self._asked_anew or notification == "ScheduleRenegotiation"
        self._observe("loop", "notice", notification=notification)

    def _reselect(self) -> None:
        """Ask the vehicle to select services anew (V2G20-1477)."""
        if self._config.service_renegotiation:
            self._notify("ServiceRenegotiation")

    def _parametrised(self) -> Parametrised | None:
        return parametrised_of(self._stage)

    def _selected(self) -> Selected | None:
        return selected_of(self._stage)

    def _contract(self) -> Contract | None:
        selected = self._selected()
        return selected.authorized.contract if selected else None

    # -- commands -----------------------------------------------------------------------------------------------

    def _perform(self, commands: Iterable[Command | Observe]) -> None:
        """Pass commands on and remember what they open, because it must be closed again."""
        for command in commands:
            match command:
                case ports.StartCableCheck() | ports.CloseContactors() | ports.CheckAlignment():
                    self._powered = True
                case ports.EmergencyOff():
                    self._powered = False
                case ports.TransactionStarted():
                    self._transaction = True
                case ports.ReportChargingNeeds():
                    if self._is_known(command):
                        continue
                    self._reported = command
                case ports.Journal(record=SessionStarted()):
                    self._books_open = True
                case ports.JoinSession():
                    self._books_open = self._transaction = True
                    assert self._paused is not None
                    self._meter_begin, self._allowed = self._paused.meter_begin, self._paused.allowed
                    if self._allowed is not None and int(self._paused.service) not in self._allowed:
                        self._reselect()
            self._actions.append(command)

    def _is_known(self, needs: ports.ReportChargingNeeds) -> bool:
        """Return whether the back end, which made the vehicle agree anew, knows these needs (K16.FR.09)."""
        asked, self._asked_anew = self._asked_anew, False
        known = self._reported is not None and needs.goes_on_from(self._reported)
        return asked and known and isinstance(self._stage, Charging)

    def _stop_power(self, reason: str) -> None:
        if self._powered:
            self._perform((ports.EmergencyOff(reason),))
            self._observe("power", "emergency_off", reason=reason)

    def _settle(self, reason: str) -> None:
        """Stop power, close the books and the transaction: once, whatever ends the session."""
        if self._settled:
            return
        self._settled = True
        self._stop_power(reason)
        if self.family is Family.ACDP and self._device.mechanical != "Home":
            self._perform((ports.MoveDevice(to_vehicle=False),))
        if self._discharge is not None:
            self._discharge.stop()
        if self._books_open:
            self._perform((ports.CloseBooks(reason),))
        if self._transaction:
            stopped = STOPPED_REASONS.get(reason, "Other")
            soc = self._vehicle.soc if self._vehicle else None
            self._perform((ports.TransactionEnded(self.session_id.hex(), reason, stopped, soc),))
        self._observe("session", "session_ended", reason=reason, session_id=self.session_id.hex())

    def _keep(self) -> None:
        """Stop power and leave books and transaction open: the session goes on later."""
        self._settled = True
        self._stop_power("paused")
        if self._discharge is not None:
            self._discharge.stop()
        self._observe("session", "session_paused", session_id=self.session_id.hex())

    def _end(self, reason: str) -> None:
        """Settle and close at once."""
        self._settle(reason)
        self._stage = Finished()
        self._close(self._doomed or reason)

    # -- limits and output --------------------------------------------------------------------------------------

    def _speak(self, family: Family) -> None:
        """Go on with the set of messages that was negotiated, and with the rating that belongs to it."""
        self.family = family
        charge_w, discharge_w = self._config.power_rating(family)
        self._limits.update(Limit(source=EVSE, charge_w=charge_w, discharge_w=discharge_w))

    def _take_vehicle_limits(self) -> None:
        parametrised = self._parametrised()
        assert parametrised is not None
        if parametrised.vehicle is self._vehicle:
            return
        self._vehicle = vehicle = parametrised.vehicle
        known = self._limits.get(VEHICLE)
        if known is None or (known.charge_w, known.discharge_w) != (vehicle.max_charge_w, vehicle.max_discharge_w):
            version = known.version + 1 if known else 0
            limit = Limit(
                source=VEHICLE, charge_w=vehicle.max_charge_w, discharge_w=vehicle.max_discharge_w, version=version
            )
            self._limits.update(limit)
            self._limits_changed(VEHICLE)

    def _limits_changed(self, source: str) -> None:
        """Obey new limits at once. A lower one reaches the hardware first and the books next, a higher one reversed."""
        limits = self._limits.discharge_limits(self._utc_ms)
        if self._discharge is not None:
            self._discharge.set_limits(limits)
        note: tuple[Command, ...] = ()
        rises = limits.max_discharge_w > self._noted_w
        if self._books_open and (source != VEHICLE or limits.max_discharge_w != self._noted_w):
            note = (ports.Journal(limit_record(limits)),)
            self._noted_w = limits.max_discharge_w
        follow = self._follow()
        self._perform((*note, *follow) if rises else (*follow, *note))
        if source != VEHICLE:
            effective = self._limits.effective(self._utc_ms)
            self._observe(
                "power",
                "limit_changed",
                source=source,
                charge_w=effective.charge_w,
                discharge_w=effective.discharge_w,
                binding=effective.discharge_source,
                version=limits.operator_version,
            )

    def _follow(self) -> tuple[Command | Observe, ...]:
        """Return what makes the hardware follow limits, wishes and signatures of this moment."""
        stage = self._stage
        commands: tuple[Command | Observe, ...] = ()
        if isinstance(stage, Charging) and stage.output is not None:
            self._stage, commands = loop.apply_output(stage, self._request_context(waited=False))
        elif isinstance(stage, Planned) and stage.coil_ma:
            self._stage, commands = wpt.aligned(stage, self._request_context(waited=False))
        return commands

    def _arm_limits(self) -> None:
        change = self._limits.next_change_ms(self._utc_ms)
        if change is not None:
            self._arm_utc("limits", change)

    def _arm_setpoint(self) -> None:
        """Look again when the wish for power begins, or ends."""
        setpoint = self._setpoint
        edges = (setpoint.valid_from_ms, setpoint.valid_until_ms) if setpoint is not None else ()
        change = min((at for at in edges if at is not None and at > self._utc_ms), default=None)
        if change is None:
            self._disarm("setpoint")
        else:
            self._arm_utc("setpoint", change)

    def _arm_utc(self, name: str, at_ms: int) -> None:
        """Arm a timer for a moment of (simulated) UTC, rounded up so that the moment has come when it fires."""
        self._arm(name, max(0, at_ms - self._utc_ms) / 1000 / self._time_scale + 0.001)

    # -- tariff and signed discharge ----------------------------------------------------------------------------

    def _take_grid(self, limits: Iterable[Limit] = (), tariff: Tariff | None = None) -> None:
        """Obey new limits, then take new prices, and make one offer of both."""
        changed = [limit.source for limit in limits if self._limits.update(limit)]
        if changed:
            self._limits_changed("+".join(changed))
            self._arm_limits()
        before = self._tariff
        if tariff is not None:
            self._tariff = tariff
            self._observe("schedule", "tariff_changed", version=tariff.version, source=tariff.source)
            if self._books_open:
                self._perform((ports.Journal(TariffSet(tariff=tariff)),))
        if tariff is not None:
            self._renew_offer()
        elif changed:
            self._renew_soon()
        if tariff is not None and (before is None or tariff.slots != before.slots):
            self._replan()

    def _replan(self) -> None:
        """Ask a vehicle that follows a schedule for a new choice, since what it has chosen from has changed."""
        if isinstance(self._stage, Charging) and self._stage.chosen is not None:
            self._notify("ScheduleRenegotiation")

    def _renew_soon(self) -> None:
        """Offer limits that have changed alone when nothing more has come for a while.

        A grid signal arrives in parts: charging profiles first, at last the prices. It is one change, and one offer.
        """
        if self._discharge is None or not self._discharge.standing:
            self._renew_offer()
        elif "terms" not in self._timers:
            self._arm("terms", SETTLING_S)

    def _begin_discharge(self) -> None:
        """Make the first offer, once the vehicle has selected the service and needs are known."""
        selected = self._selected()
        if selected is None or not (selected.signed_discharge and selected.bidirectional):
            return
        if self._discharge is None:
            self._discharge = SignedDischarge(selected, self._request_context(waited=False))
            self._discharge.set_limits(self._limits.discharge_limits(self._utc_ms))
        self._renew_offer()

    def _renew_offer(self, *, due: bool = False) -> None:
        """Offer anew if the terms have changed, or the offer is due for renewal.

        One offer at a time: terms that change again before the vehicle has decided go into the next offer. Limits are
        obeyed at once whatever was offered.
        """
        self._disarm("terms")
        discharge = self._discharge
        if discharge is None or isinstance(self._stage, Stopping | Stopped | Finished):
            return
        context = self._request_context(waited=False)
        if not due and not discharge.outdated(self._limits.discharge_limits(self._utc_ms), context):
            return
        if (wait := discharge.decision_due_s(self._now)) > 0:
            self._arm("decision", wait)
            return
        payload, commands = discharge.offer(context)
        self._perform(commands)
        if payload is not None:
            self._send_discharge(payload)
            renewal = discharge.renewal_ms()
            if renewal is not None:
                self._arm_utc("offer", renewal)

    def _on_discharge(self, payload: bytes) -> None:
        if self._discharge is None:
            self._observe("offer", "message_ignored", size=len(payload))
            return
        reply, commands = self._discharge.receive(payload, self._request_context(waited=False))
        self._perform(commands)  # into the books before power follows
        self._perform(self._follow())
        if reply is not None:
            self._send_discharge(reply)
        self._arm_expiry()
        if "decision" in self._timers and not self._discharge.decision_due_s(self._now):
            self._disarm("decision")
            self._renew_offer()

    def _arm_expiry(self) -> None:
        until = self._discharge.expires_ms(self._utc_ms) if self._discharge else None
        if until is None:
            self._disarm("discharge")
        else:
            self._arm_utc("discharge", until)

    def _command_expired(self) -> None:
        if self._discharge is not None and self._discharge.expires_ms(self._utc_ms) is None:
            self._observe("offer", "command_expired")
        self._perform(self._follow())
        self._arm_expiry()
