"""The rule of safety for a vehicle, written once more as a judge, from the table of hazards in
`docs/explanation/safety.md`. It shares nothing with the monitor or the session: it is fed with what leaves the vehicle
and what comes on the wire, with what driver, plug and parts do, and with what is measured at the inlet and the battery.
It says what must not be.

State C, and a closed contactor, may be there while the vehicle has asked for voltage or power, the charger answers in
its time, and nothing is broken. Power may be asked for, and drawn, where beside that nobody wants the end, the battery
is sound and nothing is negotiated anew; it may flow as far as it was asked for and the battery bears it.
"""

from typing import Any, Final

import msgspec

from tests.safety.judged.steps import InTurns, Lately, Since, Windows
from v2g.iso15118.d20.messages.common_messages import ChargeProgress
from v2g.iso15118.d20.messages.common_types import EvseNotification, Processing

LOOP_S, SLOW_S, ANSWER_S = 0.5, 5.0, 2.0
"""How long an answer may take: in the loop, to what takes its time, and else."""
LATE_S: Final = 0.5
NEXT_S: Final = 2.15
"""Until the vehicle, which has its answer, speaks again: a contactor may have to move before."""
STOP_S, YIELD_S = 15.0, 5.0
"""The contactor, and power, after somebody wants the end, or the battery has a fault."""
SENSOR_S, FRESH_S = 1.0, 0.5
"""Age of a reading: while there may be voltage, and when the contactor closes."""
VOLTAGE_S: Final = 150.0
"""Cable check and pre-charge."""
OBEY_OFF_S: Final = 6.0
"""State C after the oscillator went off, without messages."""
MATCHED_MV: Final = 20_000
SAFE_MV: Final = 60_000
LEFT_S, UNASKED_S = 5.0, 1.25
"""How long voltage may be left at an inlet, and how long some may be there that nobody asked for."""

GRACE_S: Final = 0.25 + 0.1
"""In which a session follows by itself, and between two looks of the monitor."""
SEEN_S: Final = 0.2
"""Between two reports of the sensors, and two looks of whoever measures."""
BREAK_S: Final = 1.0
"""How long the contactor waits for a current that it cannot break without wear."""
BREAKABLE_MA: Final = 5_000
CURRENT_S, FLOW_S, SIGNED_S = 1.25 + 0.1, 2.25 + 0.1, 1.0 + 0.1
OVER_VOLTAGE_S: Final = 0.4 + 0.1
WELDED_S: Final = 2.75 + 0.1
FOLLOW_S: Final = 5.0 + 0.1
"""How long a vehicle takes to follow a target on alternating current (IEC 61851-1)."""

FOLLOWS_S: Final = 2.25 + 0.1 + 0.2
LINE_S: Final = FOLLOWS_S + 1.0
"""How long a conductor may carry more than it may: the time to follow and two looks, and an excess by its margin."""
PHASE_V: Final = 230

_SLOW: Final = ("ServiceDetailReq", "CertificateInstallationReq")
_KEPT: Final = ("ScheduleExchangeReq", "MeteringConfirmationReq", "ACDP_ConnectReq")
_IDLE: Final = ("nothing", "soon")
_ENDS: Final = (EvseNotification.Terminate, EvseNotification.Pause)
_SIDE_STREAMS: Final = frozenset({0x8101, 0x8102, 0x8103, 0x8104})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured. `joined`: the contactor is closed; `shows_c`: the pilot says C or D; `stuck`: the contactor
    cannot be where it is told to be; `touches`: the contacts of a connection device are closed, where there is one.
    `wants_w` and `gives_w` are what the vehicle asks for or lets pass, `flows_w` what
    comes in at the inlet (negative: goes out), `there_mv` what the charger has put there. The battery's own figures are
    those of the battery, whatever it reports, in mV and mA."""

    joined: bool = False
    shows_c: bool = False
    stuck: bool = False
    touches: bool = True
    wants_w: int = 0
    gives_w: int = 0
    flows_w: int = 0
    there_mv: int = 0
    battery_mv: int = 0
    battery_ma: int = 0
    bears_mv: int = 0
    bears_ma: tuple[int, int] = (0, 0)
    line_ma: tuple[int, ...] = (0, 0, 0)
    """What flows in each conductor of alternating current."""
    done: bool = False
    """Whether the vehicle has ended its session."""


class VehicleJudge:
    """One vehicle's. Called for things as they happen; `measured` as often as one likes. `mains`: alternating current;
    `signed`: no discharge without a signed command; `phases` of its own charger, and A that each of them bears."""

    def __init__(self, *, mains: bool = False, signed: bool = False, phases: int = 3, rated_a: float = 16.0) -> None:
        self._mains, self._needs_signature = mains, signed
        self._phases, self._rated_a = phases, rated_a
        self._since, self._in_turns, self._lately = Since(), InTurns(), Lately()
        self._windows = {"in": Windows(FOLLOWS_S), "out": Windows(FOLLOWS_S)}
        self._line_most_a = {"in": 0.0, "out": 0.0}
        self._seen = Seen()
        self._sensors: dict[str, float] = {}
        self._fault_at: float | None = None
        self._across: list[tuple[float, int]] = []
        self.wrong: list[str] = []
        self._idle_since = float("-inf")
        self._asks = "nothing"
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Another session."""
        self._pending: Any = None
        self._session_id: bytes | None = None
        self._broken = ""
        self._since.over("welded", wrong=False, most_s=WELDED_S, now=now)  # who begins anew has to find it out anew
        self._stop_at: float | None = None
        self._go("nothing", now)
        self._before = "nothing"
        self._alive_until = self._voltage_at = float("-inf")
        self._states = (0.0, 0.0)
        self._target_w: float | None = None
        self._command: tuple[int, float] = (0, float("-inf"))
        self._allows_w: float | None = None
        self._aligned: bool | None = None
        self._claims = False
        self._sent = (0.0, 0)
        self._agreed_a = self._told_a = (float("inf"), float("inf"))
        self._agreed_w = float("inf")
        for each in self._windows.values():
            each.begin()

    # -- inputs

    def asked(self, request: Any, stream: int, now: float) -> None:
        """This has left the vehicle."""
        if stream in _SIDE_STREAMS:
            return
        name = type(request).__name__
        self._pending = request
        loop = name.endswith("_ChargeLoopReq")
        self._alive_until = now + (LOOP_S if loop else SLOW_S if name in _SLOW else ANSWER_S) + LATE_S
        if name in ("DC_CableCheckReq", "DC_PreChargeReq"):
            if self._asks != "voltage":
                self._voltage_at = now
            self._go("voltage", now)
        elif name == "WPT_AlignmentCheckReq":
            self._go("power", now)
            self._states = (float("inf"), 0.0)
            self._check_alignment(request)
        elif name == "PowerDeliveryReq":
            self._delivery(request, now)
        elif loop:
            self._state(request)
        elif name not in _KEPT:
            self._go("nothing", now)

    def _delivery(self, request: Any, now: float) -> None:
        if request.charge_progress is not ChargeProgress.Start:
            self._before = self._asks if self._asks != "rest" else self._before
            if self._asks == "power":
                self._go("rest", now)
        elif request.ev_processing is Processing.Finished:
            if self._aligned is False:
                self.wrong.append("energy asked for where the vehicle is not aligned")
            self._go("power", now)
            self._states = (0.0, 0.0)

    def _check_alignment(self, request: Any) -> None:
        """A vehicle that says it is aligned receives at least half of what is sent."""
        self._claims = request.ev_processing is Processing.Finished
        told_w, arrived_w = self._sent
        arrives_w = max(arrived_w, self._seen.flows_w)
        if self._claims and arrives_w * 2 < told_w - 1:
            self.wrong.append(f"it says it is aligned, {arrives_w} of {told_w:.0f} W arrive")

    def _go(self, asks: str, now: float) -> None:
        if asks == "nothing" and self._asks not in _IDLE:
            self._idle_since = now
        self._asks = asks

    def _state(self, request: Any) -> None:
        """Take what the vehicle says that it wants, W in each direction."""
        if type(request).__name__ == "WPT_ChargeLoopReq":
            self._states = (_watts(request, "evpc_power_request"), 0.0)
            return
        mode = request.cl_req_control_mode
        charge_w, discharge_w = _watts(mode, "ev_maximum_charge_power"), _watts(mode, "ev_maximum_discharge_power")
        self._states = (charge_w, discharge_w)
        self._asks_no_more(charge_w)

    def _asks_no_more(self, watts: float) -> None:
        """What was agreed before power bounds each request."""
        if watts > self._agreed_w * 1.01 + 10:
            self.wrong.append(f"{watts:.0f} W asked for, {self._agreed_w:.0f} agreed")

    def answered(self, response: Any, stream: int, now: float) -> None:
        """This comes from the charger."""
        if stream in _SIDE_STREAMS:
            if getattr(response, "evse_emergency_shutdown", False) or getattr(response, "evse_malfunction", False):
                self.parts("the connection device has failed", now)
            return
        request, name, code = self._pending, type(response).__name__, response.response_code.name
        if request is None or name != type(request).__name__.removesuffix("Req") + "Res":
            self.parts(f"{name} is out of order", now)
            return
        if code.upper().startswith("FAILED"):
            self.parts(f"{name} says {code}", now)
            return
        if name == "SessionSetupRes":
            self._session_id = response.header.session_id
        elif name != "SupportedAppProtocolRes" and response.header.session_id != self._session_id:
            self.parts(f"{name} is of another session", now)
            return
        self._pending = None
        self._alive_until = now + NEXT_S
        refused = code.startswith("WARNING")
        if refused and self._asks == "rest" and name in ("PowerDeliveryRes", "ScheduleExchangeRes"):
            wants = getattr(request, "charge_progress", None)
            if wants is not ChargeProgress.Stop:
                self._go(self._before, now)
        if name == "WPT_AlignmentCheckRes":
            self._aligned = self._claims and response.evse_processing is Processing.Finished
            self._sent = (_watts(response, "power_transmitted", signed=True), self._seen.flows_w)
        elif name == "SessionStopRes":
            self._aligned = None
        planned = name == "ScheduleExchangeRes" and response.evse_processing is Processing.Finished
        if planned and self._asks == "nothing" and not self._mains:
            self._go("soon", now)  # state C may be a moment ahead of the request
        mode = getattr(response, "cl_res_control_mode", None)
        if getattr(mode, "evse_target_active_power", None) is not None:
            self._target_w = _watts(mode, "evse_target_active_power", signed=True)
            target_a = self._line_a(mode, "evse_target_active_power")
            self._told_a = max(0.0, target_a), max(0.0, -target_a)
        elif mode is not None:
            self._told_a, self._target_w = (float("inf"), float("inf")), None
        if name.endswith("ChargeParameterDiscoveryRes"):
            self._agree(response)
        status = getattr(response, "evse_status", None)
        if status is not None and status.evse_notification in _ENDS:
            self.stop(now)

    def _agree(self, response: Any) -> None:
        """Take what the charger gives before power."""
        mode = getattr(response, "ac_cpd_res_energy_transfer_mode", None)
        if mode is not None:
            charge_a, discharge_a = (self._line_a(mode, f"evse_maximum_{way}_power") for way in ("charge", "discharge"))
            self._agreed_a = max(0.0, charge_a), abs(discharge_a)
            self._told_a = float("inf"), float("inf")
        direct = getattr(response, "dc_cpd_res_energy_transfer_mode", None)
        self._agreed_w = (
            float("inf") if direct is None else max(0.0, _watts(direct, "evse_maximum_charge_power", signed=True))
        )

    def _line_a(self, mode: Any, field: str) -> float:
        """Return the A of one conductor by powers of each: the smallest of those that the vehicle uses; the whole
        where there is one power only."""
        values = [getattr(mode, field + phase, None) for phase in ("", "_l2", "_l3")]
        given = [each.value * 10.0**each.exponent / PHASE_V for each in values if each is not None]
        used = given[: self._phases]
        if used and min(used) < 0 < max(used):
            return 0.0
        return min(used, key=abs, default=0.0)

    def signed(self, power_w: int, until: float) -> None:
        """The vehicle has signed for so much discharge."""
        self._command = (power_w, until)

    def allowed(self, watts: float | None, now: float, line_a: float = 0.0) -> None:
        """The pilot's duty cycle allows this, in all conductors and in each; None: the oscillator is off."""
        self._told_a = line_a, 0.0
        if watts is None and self._asks == "power":
            self._go("rest", now)
            self._alive_until = now + OBEY_OFF_S
        elif watts is not None:
            self._go("power", now)
            self._alive_until, self._states = float("inf"), (float("inf"), 0.0)
        self._allows_w = watts or 0.0

    def stop(self, now: float) -> None:
        """Somebody wants the session to end."""
        self._stop_at = now if self._stop_at is None else self._stop_at

    def parts(self, why: str, now: float) -> None:
        """From now on vehicle and charger have nothing to do with each other any more."""
        self._broken = self._broken or why

    def silent(self, sensor: str, now: float | None) -> None:
        """A sensor says nothing from now on; None: it speaks again."""
        if now is None:
            self._sensors.pop(sensor, None)
        else:
            self._sensors.setdefault(sensor, now)

    def fault(self, now: float | None) -> None:
        """The battery has a fault; None: no more."""
        if now is None or self._fault_at is None:
            self._fault_at = now

    # -- what is

    def measured(self, now: float, seen: Seen) -> None:
        """There is this."""
        before, self._seen = self._seen, seen
        if before.touches and not seen.touches and (before.joined or before.shows_c):
            self.parts("the contacts have opened", now)
        apart = self._apart(now)
        self._edges(now, before, seen)
        lately = [(at, mv) for at, mv in self._across if at > now - FRESH_S - SEEN_S]
        self._across = [*lately, (now, abs(seen.there_mv - seen.battery_mv))]
        look_s = GRACE_S + SEEN_S
        calm = seen.joined and not seen.stuck and abs(seen.battery_ma) <= BREAKABLE_MA
        self._blame(now, "pilot", seen.shows_c and bool(apart), look_s, f"state C: {apart}")
        self._blame(now, "closed", calm and bool(apart), look_s, f"contactor closed: {apart}")
        loaded = seen.joined and not seen.stuck and bool(apart)
        self._blame(now, "loaded", loaded, look_s + BREAK_S, f"contactor closed on a current: {apart}")
        quiet = apart or self._powerless(now)
        wants = max(seen.wants_w, seen.gives_w) > 0
        self._blame(now, "wants", wants and bool(quiet), look_s, f"{seen.wants_w}, {seen.gives_w} W wanted: {quiet}")
        bears = seen
        if seen.joined and seen.stuck and seen.done:  # what flows then is the charger's to end, or a fuse's
            bears = msgspec.structs.replace(seen, flows_w=0, battery_mv=0, battery_ma=0)
        self._flow(now, bears, quiet)
        self._battery(now, bears)
        idle = self._asks in _IDLE and now - self._idle_since > LEFT_S
        there = seen.there_mv > SAFE_MV and idle and not seen.done
        self._blame(now, "unasked", there, UNASKED_S + look_s, f"{seen.there_mv} mV that nobody asked for")
        welded = seen.joined and self._asks == "nothing" and seen.stuck
        if self._since.over("welded", welded, WELDED_S, now):
            self.parts("the contactor is welded", now)

    def _edges(self, now: float, before: Seen, seen: Seen) -> None:
        """What must never begin."""
        if seen.shows_c and not before.shows_c and not (seen.joined and seen.stuck):
            early = self._asks != "power" if self._mains else self._asks == "nothing"
            early &= self._allows_w is None  # or the pilot allows it, until a moment ago
            self._blame(now, "early", early, -1.0, f"state C, where it asks for {self._asks}")
        if seen.joined and not before.joined and not seen.stuck:
            across = min(mv for _, mv in self._across)
            self._blame(now, "across", across > MATCHED_MV, -1.0, f"contactor closed across {across} mV")
            self._blame(now, "asked", self._asks != "voltage", -1.0, f"contactor closed, asked for {self._asks}")
            sick = self._fault_at is not None and now - self._fault_at > SEEN_S
            self._blame(now, "sick", sick, -1.0, "contactor closed on a battery with a fault")
            old = [each for each, at in self._sensors.items() if now - at > FRESH_S + SEEN_S]
            self._blame(now, "old", bool(old), -1.0, f"contactor closed on an old reading: {old}")

    def _flow(self, now: float, seen: Seen, quiet: str) -> None:
        charge_w, discharge_w = (0.0, 0.0) if quiet else self._states
        if self._needs_signature:
            signed_w, until = self._command
            live_w = signed_w if now < until else 0
            discharge_w = min(discharge_w, live_w)
            unsigned = seen.gives_w > live_w + 100
            self._blame(now, "unsigned", unsigned, SIGNED_S + SEEN_S, f"{seen.gives_w} W let out, signed {live_w}")
        into, out = seen.flows_w, -seen.flows_w
        last_s = FLOW_S + SEEN_S + BREAK_S
        self._blame(now, "into", into > charge_w * 1.05 + 550, last_s, f"{into} W into it, asked for {charge_w:.0f}")
        self._blame(now, "out", out > discharge_w * 1.05 + 550, last_s, f"{out} W out of it, {discharge_w:.0f} allowed")
        if self._allows_w is not None:
            drawn, allows = seen.wants_w, self._allows_w
            words = f"{drawn} W, the pilot allows {allows:.0f}"
            self._blame(now, "duty", drawn > allows * 1.01 + 1, GRACE_S + SEEN_S, words)
        if self._mains and self._target_w is not None:
            beyond = into > max(0.0, self._target_w) + 550
            self._blame(now, "target", beyond, FOLLOW_S, f"{into} W, the charger's target is {self._target_w:.0f}")

        if self._mains:
            self._lines(now, seen.line_ma, charge_w > 0, discharge_w > 0)

    def _lines(self, now: float, line_ma: tuple[int, ...], charges: bool, discharges: bool) -> None:
        """Compare each conductor with its rating and with what the charger lets it carry."""
        for what, sign, may in (("in", 1, charges), ("out", -1, discharges)):
            told = min(self._rated_a, *(each[sign < 0] for each in (self._agreed_a, self._told_a)))
            most_a = told if may else 0.0
            flow_a = max(sign * each / 1000 for each in line_ma)
            words, margin_a = f"line {what}: {flow_a:.1f} A, {most_a:.1f} allowed", most_a * 0.05 + 1.3
            follows = most_a <= self._line_most_a[what]  # what rises may fall again, and be followed again: see windows
            self._line_most_a[what] = most_a
            self._blame(now, f"line {what}", follows and flow_a > most_a + margin_a, LINE_S, words)
            if much := self._windows[what].over(flow_a, most_a, margin_a, now):
                self.wrong.append(f"in turns: {words}, {much}")

    def _battery(self, now: float, seen: Seen) -> None:
        most_mv, live = seen.bears_mv, seen.joined or seen.battery_ma != 0
        high, higher = seen.battery_mv > most_mv + max(5_000, most_mv // 100), seen.battery_mv * 10 > most_mv * 11
        words, open_s = f"{seen.battery_mv} mV at a battery for {most_mv}", BREAK_S + SEEN_S
        self._blame(now, "high", live and high, OVER_VOLTAGE_S + open_s, words)
        self._blame(now, "higher", live and higher, 0.1 + open_s, words)
        most, least = (each * 1.05 + 5_000 for each in seen.bears_ma)
        beyond = seen.battery_ma > most or -seen.battery_ma > least
        self._blame(now, "current", beyond, CURRENT_S + open_s, f"{seen.battery_ma} mA, it bears {seen.bears_ma}")
        lag_s = CURRENT_S + open_s
        most = self._lately.most("most", most, lag_s, now)
        least = self._lately.most("least", least, lag_s, now)
        beyond = seen.battery_ma > most or -seen.battery_ma > least
        for what, wrong in (("high", live and high), ("current", beyond)):
            again = self._in_turns.over(what, wrong, 2 * (CURRENT_S + open_s), now)
            if again and f"{what} in turns" not in self.wrong:
                self.wrong.append(f"{what} in turns")

    def _blame(self, now: float, what: str, wrong: bool, most_s: float, sentence: str) -> None:
        if self._since.over(what, wrong, most_s, now) and sentence not in self.wrong:
            self.wrong.append(sentence)

    def _apart(self, now: float) -> str:
        """Return why nothing may join vehicle and charger; empty where something may."""
        if self._broken:
            return self._broken
        if not self._seen.touches and self._asks != "soon":
            return "the contacts are open"
        if self._asks == "nothing":
            return "it asks for nothing"
        if now > self._alive_until:
            return "silence"
        if self._stop_at is not None and now > self._stop_at + STOP_S:
            return "somebody wants the end"
        if self._fault_at is not None and now > self._fault_at + STOP_S:
            return "the battery has a fault"
        if self._asks == "voltage" and now > self._voltage_at + VOLTAGE_S:
            return "voltage for too long"
        old = [each for each, at in self._sensors.items() if now > at + SENSOR_S]
        return f"{old[0]} is silent" if old else ""

    def _powerless(self, now: float) -> str:
        """Return why no power may be wanted, where vehicle and charger may be joined."""
        if self._asks != "power":
            return f"it asks for {self._asks}"
        if self._stop_at is not None and now > self._stop_at + YIELD_S:
            return "somebody wants the end"
        return "the battery has a fault" if self._fault_at is not None and now > self._fault_at + YIELD_S else ""


def _watts(mode: Any, field: str, *, signed: bool = False) -> float:
    """Return the W of all phases of a field, 0 where it is left out."""
    values = [getattr(mode, field + phase, None) for phase in ("", "_l2", "_l3")]
    watts = float(sum(each.value * 10.0**each.exponent for each in values if each is not None))
    return watts if signed else abs(watts)
