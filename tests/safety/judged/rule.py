"""The rule of safety, written once more as a judge. It shares nothing with the monitor or the session: it is fed with
what a vehicle sends and receives on the wire, what back end, grid and hardware report to the charger, and what is
measured at the vehicle's end of the line. It says what must not be.

Voltage, or a field, may be there while somebody is authorised, nothing is broken, no stop is older than the time in
which a session ends, and the vehicle has asked for it in its time. Power may flow where beside that a charge loop
lives, or a vehicle on alternating current negotiates another schedule, and nobody has asked for a stop, no more than
everybody allows, and back only by a signed command where one was agreed.
"""

from typing import Any, Final

from tests.safety.judged.steps import InTurns, Lately, Since, Windows
from v2g.energy.limits import Limit
from v2g.hardware.faults import FAULTS
from v2g.iso15118.d20.messages.common_messages import ChargeProgress, ChargingSession
from v2g.iso15118.d20.messages.common_types import Processing

LOOP_S: Final = 1.0
"""A charge loop is alive for so long after a request."""
SILENT_S: Final = 60.0
"""A vehicle that says nothing for so long is gone."""
STOP_S: Final = 65.0
"""A session ends within this time after somebody wanted it to."""
VOLTAGE_S: Final = 150.0
"""Cable check and pre-charge together."""
LEAVING_S: Final = 4.0
"""The contactor after PowerDeliveryReq (Stop)."""

GRACE_S: Final = 0.25 + 0.1
"""In which a session follows by itself, and between two looks of the monitor."""
POWER_S: Final = GRACE_S + 0.35
"""Until what flows has followed: the ramp of the stage, and what it reports."""
FOLLOW_S: Final = 6.0 + 0.1 + 0.3
"""Until a vehicle on alternating current has followed, or was cut off: its 5 s, a second, a look, the contactor."""
IN_TURNS_S: Final = 2.0
"""What flows beyond what was allowed in the time to follow it, or in a direction that was not, in 20 s together: a
second, a look, the contactor, and once more after it."""
PHASE_V: Final = 230
RATED_A: Final = (22_000 / PHASE_V / 3, 11_000 / PHASE_V / 3)
"""What a conductor of the charger bears, into the vehicle and back."""

LEAST_SHARE: Final = 0.8
"""Of what a coil sends arrives at least so much: a vehicle asks for what arrives."""

LOWERED_S: Final = 0.75
"""In which a stage may follow a lower command: one that then obeys nobody is cut off that much later."""
LITTLE_W, LITTLE_S = 5_600, 0.75
"""What flows too much by less than four margins, 3.5 A at 400 V each, may last a second, not a quarter of one."""
OPEN_S: Final = GRACE_S + 0.35
"""Until a contactor has opened: its own time, and what is reported of it."""

_LOOPS: Final = ("DC_ChargeLoopReq", "AC_ChargeLoopReq", "WPT_ChargeLoopReq")
_VOLTAGE: Final = ("DC_CableCheckReq", "DC_PreChargeReq")
_BESIDE: Final = ("ScheduleExchangeReq", "MeteringConfirmationReq", "VehicleCheckInReq", "VehicleCheckOutReq")
_SIDE_STREAMS: Final = frozenset({0x8101, 0x8102, 0x8103, 0x8104})


class Judge:
    """One EVSE's. `said`, `answered`, `told` and `signed` as things happen, `measured` as often as one likes."""

    def __init__(self, *, mains: bool = False, alignment_w: int = 1_000, loop_s: float = LOOP_S) -> None:
        self._mains, self._alignment_w, self._loop_s = mains, alignment_w, loop_s
        self._since, self._in_turns, self._lately = Since(), InTurns(), Lately()
        follow_s = FOLLOW_S if mains else POWER_S + LOWERED_S
        self._windows = {each: Windows(follow_s) for each in ("charged", "given back", "line in", "line out")}
        self._faults: set[str] = set()
        self._ready = True
        self._limits: dict[str, Limit] = {}
        self._grid: tuple[float, float] = (float("inf"), float("inf"))
        self._tripped = False
        self.wrong: list[str] = []
        self.strays = False
        """Whether what flows obeys nobody, now and then."""
        self._pausing = self._may_join = False
        self._kept_stop: float | None = None
        self.begin()

    def begin(self) -> None:
        """Another session."""
        self._authorised = False
        self._stop_at: float | None = None
        self._wants = "nothing"
        self._asked_at = self._looped_at = self._voltage_at = self._left_at = float("-inf")
        self._bears: dict[str, float] = {}
        self._agreed: dict[str, float] = {}
        self._beside: dict[str, float] | None = None
        self._needs_signature = False
        self._bidirectional = False
        self._signed: tuple[int, float] = (0, float("-inf"))
        self._aligning = self._negotiates = False
        for each in self._windows.values():
            each.begin()

    def over(self) -> None:
        """The connection has ended."""
        self._authorised = False

    def forgotten(self) -> None:
        """Who has paused is not to come back."""
        self._may_join = False

    # -- inputs

    def said(self, request: Any, stream: int, now: float) -> None:
        """The vehicle sends this."""
        name = type(request).__name__
        if stream in _SIDE_STREAMS:
            self._said_beside(name, request)
            return
        self._asked_at = now
        if name in _VOLTAGE:
            if self._wants != "voltage":
                self._voltage_at = now
            self._wants = "voltage"
        elif name == "WPT_AlignmentCheckReq":
            self._wants, self._looped_at, self._aligning = "power", now, True
        elif name == "PowerDeliveryReq":
            self._delivery(request, now)
        elif name in _LOOPS:
            self._looped_at, self._negotiates = now, False
            self._bear(getattr(request, "cl_req_control_mode", None))
            self._say("asks", request, "evpc_power_request")
        elif name not in _BESIDE:
            self._wants = "nothing"
            if name.endswith("ChargeParameterDiscoveryReq"):
                self._bears = {}
                self._bear_parameters(request)
                self._agreed = dict(self._bears)
            if name == "SessionStopReq":
                self._pausing = request.charging_session is ChargingSession.Pause
                self._authorised &= request.charging_session is not ChargingSession.Terminate

    def _bear_parameters(self, request: Any) -> None:
        for field in ("dc_cpd_req_energy_transfer_mode", "ac_cpd_req_energy_transfer_mode"):
            self._bear(getattr(request, field, None))
        self._say("charge", request, "evpc_max_receivable_power")

    def _said_beside(self, name: str, request: Any) -> None:
        """While power flows, other limits are agreed on, of which no voltage is higher than what was tested."""
        if name.endswith("ChargeParameterDiscoveryReq"):
            known, self._bears = self._bears, {}
            self._bear_parameters(request)
            self._beside, self._bears = self._bears, known
        elif name == "PowerDeliveryReq" and request.ev_processing is Processing.Finished and self._beside:
            tested_mv = self._agreed.get("mv", 0.0)
            self._agreed = {**self._beside, "mv": min(tested_mv, self._beside.get("mv", tested_mv))}
            self._beside = None

    def _bearable(self, what: str, otherwise: float) -> float:
        """Return what the vehicle bears: by its last loop, and by what was agreed before."""
        return min(self._bears.get(what, otherwise), self._agreed.get(what, float("inf")))

    def _delivery(self, request: Any, now: float) -> None:
        progress = request.charge_progress
        if progress is ChargeProgress.Start and request.ev_processing is Processing.Finished:
            self._wants, self._looped_at, self._aligning, self._negotiates = "power", now, False, False
        elif progress is ChargeProgress.ScheduleRenegotiation:
            self._negotiates = self._mains
        elif progress is ChargeProgress.Stop and self._wants == "power":
            self._wants, self._left_at = "to leave", now
        elif progress is ChargeProgress.Standby and self._wants == "power":
            self._wants = "to stand by"

    def _bear(self, mode: Any) -> None:
        """Take what the vehicle says that it bears; loops may leave out what was said before."""
        self._say("charge", mode, "ev_maximum_charge_power")
        self._say("discharge", mode, "ev_maximum_discharge_power")
        self._say("mv", mode, "ev_maximum_voltage", 1000)
        most, least = getattr(mode, "ev_maximum_energy_request", None), getattr(mode, "ev_minimum_energy_request", None)
        if most is not None and "Dynamic" in type(mode).__name__ and most.value <= 0:
            self._bears["charge"] = 0
        if least is not None and "Dynamic" in type(mode).__name__ and least.value > 0:
            self._bears["discharge"] = 0

    def _say(self, what: str, mode: Any, field: str, scale: int = 1) -> None:
        values = [getattr(mode, field + phase, None) for phase in ("", "_l2", "_l3")]
        known = [each.value * 10.0**each.exponent for each in values if each is not None]
        if known:
            self._bears[what] = abs(sum(known)) * scale
            self._bears[what + "_a"] = max(map(abs, known)) / PHASE_V

    def answered(self, response: Any) -> None:
        """The charger says this."""
        name, code = type(response).__name__, response.response_code.name
        if name == "AuthorizationRes" and code.startswith("OK"):
            self._authorised = self._authorised or response.evse_processing is Processing.Finished
        elif name == "SessionStopRes" and code == "OK" and self._pausing:
            self._may_join, self._kept_stop = True, self._stop_at
        elif name == "SessionSetupRes" and code.startswith("OK"):
            joined = code == "OK_OldSessionJoined"
            self._blame(joined and not self._may_join, "a session was joined that had ended, or was to end")
            if joined:  # who was to stop before is still to stop
                self._authorised = True
                self._stop_at = self._kept_stop if self._stop_at is None else self._stop_at
            self._may_join = False

    def services(self, *, bidirectional: bool, signed: bool) -> None:
        """These were agreed."""
        self._bidirectional, self._needs_signature = bidirectional, signed

    def signed(self, power_w: int, until: float) -> None:
        """The vehicle signs for so much."""
        self._signed = (power_w, until)

    def stop(self, now: float) -> None:
        """Somebody wants the session to end."""
        self._stop_at = now if self._stop_at is None else self._stop_at

    def limit(self, limit: Limit) -> None:
        """Site or operator allow this from now on."""
        self._limits[limit.source] = limit

    def grid(self, ceiling_w: int | None, floor_w: int | None, *, trip: bool = False) -> None:
        """Frequency and voltage bound power to this, signed; `trip`: mains are to be disconnected."""
        self._tripped = trip and self._mains
        most = float("inf") if ceiling_w is None else max(0, ceiling_w)
        self._grid = (most, float("inf") if floor_w is None else max(0, -floor_w))

    def pilot(self, *, ready: bool) -> None:
        """The vehicle shows a state in which it takes energy, or another one."""
        self._ready = ready

    def fault(self, word: str, *, active: bool) -> None:
        """The hardware is broken like this, or no more."""
        if FAULTS[word].stops:
            (self._faults.add if active else self._faults.discard)(word)

    # -- what is

    def measured(
        self,
        now: float,
        *,
        closed: bool,
        voltage_mv: int,
        power_w: int,
        line_ma: tuple[int, ...] = (),
        stuck: bool = False,
    ) -> None:
        """At the vehicle's end there is this, with alternating current in each conductor, too; `stuck`: the contactor
        cannot open, whoever commands it."""
        may_close, why = self._connected(now)
        charge_w, discharge_w = self._power(now) if may_close else (0.0, 0.0)
        follow_s = FOLLOW_S if self._mains else POWER_S + (LOWERED_S if self.strays else 0.0)
        if self.strays and -discharge_w - LITTLE_W < power_w < charge_w + LITTLE_W:
            follow_s += LITTLE_S
        many, little = charge_w * 1.05 + 550, discharge_w * 1.05 + 550
        over = self._since.over
        if stuck and (self._mains or self.strays):
            power_w, line_ma = 0, ()  # no contactor, no stage: nothing is left but to tell the vehicle
        self._blame(over("charge", power_w > many, follow_s, now), f"{power_w} W into it, {charge_w:.0f} allowed")
        self._blame(over("back", -power_w > little, follow_s, now), f"{-power_w} W back, {discharge_w:.0f} allowed")
        lag_s = 5.5 if self._mains else POWER_S + LOWERED_S
        lately = [self._lately.most(*each, lag_s, now) for each in (("charge", charge_w), ("discharge", discharge_w))]
        for what, flow_w, most_w in zip(("in turns", "back in turns"), (power_w, -power_w), lately, strict=True):
            astray = flow_w > most_w * 1.05 + 550
            self._blame(self._in_turns.over(what, astray, IN_TURNS_S, now), f"{what}: {flow_w} W, {most_w:.0f} allowed")
        for what, flow_w, most_w in (("charged", power_w, charge_w), ("given back", -power_w, discharge_w)):
            self._look_at_windows(what, 0.0 if stuck else flow_w, most_w, 0.05 * most_w + 550, now)
        self._look_at_lines(now, line_ma, charge_w, discharge_w)
        wrong = closed and not may_close and not stuck
        self._blame(over("closed", wrong, OPEN_S, now), f"contactor closed: {why}")
        bears_mv = self._bearable("mv", float("inf"))
        high = closed and not stuck and voltage_mv > bears_mv * 1.01 + 5_000
        self._blame(over("voltage", high, 0.4 + GRACE_S + 0.2, now), f"{voltage_mv} mV over {bears_mv:.0f}")

    def _look_at_windows(self, what: str, flow: float, most: float, margin: float, now: float) -> None:
        wrong = self._windows[what].over(flow, most, margin, now)
        self._blame(bool(wrong), f"{what}: {wrong}")

    def _look_at_lines(self, now: float, line_ma: tuple[int, ...], charge_w: float, discharge_w: float) -> None:
        """Compare each conductor with what it may carry."""
        most_a, least_a = self._line_a()
        for what, sign, a in (("in", 1, most_a if charge_w else 0.0), ("out", -1, least_a if discharge_w else 0.0)):
            flow_a = max((sign * each / 1000 for each in line_ma), default=0.0)
            late_a = self._lately.most("line " + what, a, 5.5, now)
            sentence = f"line {what}: {flow_a:.1f} A, {a:.1f} allowed"
            self._blame(self._since.over("line " + what, flow_a > a * 1.05 + 1.3, FOLLOW_S, now), sentence)
            self._look_at_windows("line " + what, flow_a, a, 0.05 * a + 1.3, now)
            astray = flow_a > late_a * 1.05 + 1.3
            self._blame(self._in_turns.over("line " + what, astray, IN_TURNS_S, now), f"in turns: {sentence}")

    def _line_a(self) -> tuple[float, float]:
        """Return what one conductor may carry, A: its rating, what the vehicle bears, each limit in A, and the part of
        it of each limit that names watts only."""
        charge, discharge = RATED_A
        charge = min(charge, self._bearable("charge_a", float("inf")))
        discharge = min(discharge, self._bearable("discharge_a", float("inf")))
        for each in self._limits.values():
            parts = each.charge_w / PHASE_V / 3, each.discharge_w / PHASE_V / 3
            named = each.charge_ma, each.discharge_ma
            a = [part if ma is None else ma / 1000 for part, ma in zip(parts, named, strict=True)]
            charge, discharge = min(charge, a[0]), min(discharge, a[1])
        return charge, discharge

    def _blame(self, wrong: bool, sentence: str) -> None:
        if wrong and sentence not in self.wrong:
            self.wrong.append(sentence)

    def _connected(self, now: float) -> tuple[bool, str]:
        faults = self._faults
        if self._wants == "voltage":  # the cable check is what finds out about the insulation
            faults = faults - {"isolation_low", "isolation_lost"}
        if faults:
            return False, min(faults)
        if self._tripped:
            return False, "the grid has tripped"
        if not self._ready:
            return False, "the pilot shows that the vehicle takes nothing"
        if not self._authorised:
            return False, "nobody is authorised"
        if self._stop_at is not None and now > self._stop_at + STOP_S:
            return False, "the session was to end"
        if now > self._asked_at + SILENT_S:
            return False, "the vehicle is silent"
        if self._wants == "voltage":
            return now <= self._voltage_at + VOLTAGE_S, "voltage for too long"
        if self._wants == "to leave":
            return now <= self._left_at + LEAVING_S, "the vehicle wants to leave"
        return self._wants != "nothing", "the vehicle asks for nothing"

    def _power(self, now: float) -> tuple[float, float]:
        if self._stop_at is not None or self._wants != "power":
            return 0.0, 0.0
        if not self._negotiates and now > self._looped_at + (SILENT_S if self._aligning else self._loop_s):
            return 0.0, 0.0
        charge, discharge = self._bearable("charge", 0.0), self._bearable("discharge", 0.0)
        charge = min(
            charge, self._alignment_w if self._aligning else self._bears.get("asks", float("inf")) / LEAST_SHARE
        )
        for each in self._limits.values():
            charge, discharge = min(charge, each.charge_w), min(discharge, each.discharge_w)
        charge, discharge = min(charge, self._grid[0]), min(discharge, self._grid[1])
        if not self._bidirectional:
            discharge = 0.0
        elif self._needs_signature:
            power_w, until = self._signed
            discharge = min(discharge, power_w) if now <= until else 0.0
        return charge, discharge
