"""The rule of safety for charging without messages (IEC 61851-1), as a judge that shares nothing with what it judges.
It is fed with what the vehicle does to the wire and sees there, with what back end, grid and hardware tell the charger,
and with what is measured at the vehicle's end of the line.

There may be voltage while somebody is authorised, nothing is broken, the wire is sound and shows C, or D where there is
ventilation, and the oscillator runs, or has run a moment ago. Power may flow into the vehicle, never out of it, no more
than everybody allows: by what is shown at the latest when a duty cycle may be changed, by what flows when the vehicle
has had its time.
"""

from typing import Final

from tests.safety.judged.rule import GRACE_S
from tests.safety.judged.steps import InTurns, Lately, Since, Windows
from v2g.hardware.faults import FAULTS
from v2g.iec61851.pilot import PilotState

LOOK_S: Final = 0.05 + 0.05
"""Between two looks of the judge, and the contactor's own time."""

OPEN_S: Final = 0.1 + LOOK_S
"""Until a contactor is open after the wire has shown that it must (Annex A, sequence 8.1)."""
FAULT_S: Final = GRACE_S + LOOK_S
"""The same after a fault that is known."""
OFF_S: Final = 3.0 + GRACE_S + LOOK_S
"""How long a vehicle may go on drawing after the oscillator went off, before it is cut off."""
INTERVAL_S: Final = 5.0 + GRACE_S
"""Until a smaller current is shown: duty cycles follow each other after 5 s at the earliest."""
FOLLOW_S: Final = 5.0 + 1.0 + GRACE_S + LOOK_S
"""How long a vehicle may draw more than is shown, or give back, before it is cut off."""
SHARED_S: Final = INTERVAL_S + FOLLOW_S
"""Until what flows at the feeder is what it bears: a smaller current is shown, and followed."""
IN_TURNS_S: Final = 2.0
"""How long in 20 s together a vehicle may draw more than was shown in the time to follow, or give back: half a second
and a look before it is cut off, the contactor, and once more after it."""

LEAST_W: Final = 6 * 3 * 230
"""Less than 6 A a phase cannot be shown: then nothing may flow."""
MARGIN_W: Final = 22_000 // 20 + 50
PHASE_V: Final = 230
MARGIN_A: Final = 1.3 + 1.6
"""Of what flows in one conductor."""


class PilotJudge:
    """One EVSE's, of 22 kW. Called for things as they happen; `measured` as often as one likes."""

    def __init__(self, *, ventilation: bool, most_w: int, evses: int = 1) -> None:
        """`most_w` is what the EVSE and its feeder bear, at which so many are."""
        self._ventilation, self._most_w, self._evses = ventilation, most_w, evses
        self._since, self._in_turns, self._lately = Since(), InTurns(), Lately()
        self._windows = {"drawn": Windows(FOLLOW_S), "drawn in a conductor": Windows(FOLLOW_S)}
        self._shows: PilotState | None = None
        self._sound = True
        self._faults: set[str] = set()
        self._limits: dict[str, float] = {}
        self._authorised = self._ended = self._tripped = False
        self.wrong: list[str] = []

    # -- inputs

    def wire(self, shows: PilotState | None, *, sound: bool = True) -> None:
        """The vehicle shows this, None when it is unplugged; `sound` unless the wire or the plug is broken."""
        if shows is None:
            self._authorised = self._ended = False
            for each in self._windows.values():
                each.begin()
        self._shows, self._sound = shows, sound

    def authorised(self) -> None:
        """Somebody answers for this vehicle."""
        self._authorised = True

    def stop(self) -> None:
        """It is to end, and begins again with another vehicle only."""
        self._ended = True

    def over(self) -> None:
        """It has ended, and nobody answers for this vehicle any more."""
        self._authorised = False

    def limit(self, source: str, watts: float | None) -> None:
        """No more than this; None is no word on it."""
        self._limits[source] = float("inf") if watts is None else watts

    def limit_a(self, source: str, amperes: float) -> None:
        """No more than this in each conductor, on however many the vehicle draws: as many W on all of them."""
        self._limits[source] = amperes * 3 * PHASE_V

    def trip(self, *, active: bool) -> None:
        """Mains are to be disconnected, or no more."""
        self._tripped = active

    def fault(self, word: str, *, active: bool) -> None:
        """The hardware is broken like this, or no more."""
        if FAULTS[word].stops:
            (self._faults.add if active else self._faults.discard)(word)

    @property
    def allowed_w(self) -> float:
        """What may be shown."""
        least = min(self._most_w, *self._limits.values()) if self._limits else self._most_w
        return 0.0 if self._ended or not self._authorised or least < LEAST_W - 1 else least

    # -- what is

    def measured(
        self,
        now: float,
        *,
        closed: bool,
        power_w: int,
        shown_w: float,
        line_ma: tuple[int, ...] = (),
        stuck: bool = False,
    ) -> None:
        """There is voltage at the vehicle, so much flows into it, all in all and in each conductor, and the duty cycle
        shows so much on three conductors, 0 with none.
        `stuck`: the contactor cannot open, and nothing is left but to tell the vehicle."""
        over = self._since.over
        allowed = self.allowed_w
        why = self._broken
        most_w = self._lately.most("shown", shown_w, 5.5, now)
        flow_a = max(line_ma, default=0) / 1000
        beyond = flow_a > most_w / PHASE_V / 3 + MARGIN_A
        astray = beyond or power_w > most_w * 1.05 + MARGIN_W or power_w < -MARGIN_W
        in_turns = self._in_turns.over("strays", astray and not stuck, IN_TURNS_S, now)
        self._blame(in_turns, f"in turns: {power_w} W flow, {most_w:.0f} W are shown")
        for (what, window), flow, most, margin in zip(
            self._windows.items(),
            (power_w, flow_a),
            (shown_w, shown_w / PHASE_V / 3),
            (MARGIN_W, MARGIN_A),
            strict=True,
        ):
            wrong = window.over(0.0 if stuck else flow, most, margin, now)
            self._blame(bool(wrong), f"{what}: {wrong}")
        free = not stuck  # who could not be cut off has all the time again once it can be: no clock stands meanwhile
        wire, ended = closed and self._wire_forbids, closed and not allowed
        strays = power_w > shown_w * 1.05 + MARGIN_W or power_w < -MARGIN_W
        too_much = flow_a > shown_w / PHASE_V / 3 + MARGIN_A
        sentence = f"{flow_a:.1f} A flow in a conductor, {shown_w / PHASE_V / 3:.1f} A are shown"
        self._blame(over("line", free and too_much, FOLLOW_S, now), sentence)
        self._blame(over("wire", free and wire, OPEN_S, now), f"closed: the wire shows {self._shows}")
        self._blame(over("fault", free and closed and bool(why), FAULT_S, now), f"closed: {why}")
        self._blame(over("off", free and closed and not shown_w, OFF_S, now), "closed: nothing is shown")
        self._blame(over("ended", free and ended, OFF_S, now), "closed: nothing is allowed")
        self._blame(over("strays", free and strays, FOLLOW_S, now), f"{power_w} W flow, {shown_w:.0f} W are shown")
        self._blame(
            over("shown", shown_w > allowed + 1, INTERVAL_S, now), f"{shown_w:.0f} W shown, {allowed:.0f} allowed"
        )
        lit = shown_w > 0 and not allowed
        self._blame(over("lit", lit, GRACE_S, now), f"{shown_w:.0f} W shown, nothing is allowed")

    def shared(self, now: float, *, power_w: int, line_ma: tuple[int, ...], stuck: bool) -> None:
        """So much flows into all vehicles at the feeder, all in all and in each conductor; `stuck`: one cannot be cut
        off."""
        most_w, flow_a = min(self._most_w, self._limits.get("operator", self._most_w)), max(line_ma, default=0) / 1000
        for what, flow, most, margin in (
            ("W flow at the feeder", power_w, most_w, 0.05 * most_w + MARGIN_W * self._evses),
            ("A flow in a conductor of the feeder", flow_a, most_w / PHASE_V / 3, MARGIN_A * self._evses),
        ):
            beyond = not stuck and flow > most + margin
            self._blame(self._since.over(what, beyond, SHARED_S, now), f"{flow:.0f} {what}, {most:.0f} allowed")

    def _blame(self, wrong: bool, sentence: str) -> None:
        if wrong and sentence not in self.wrong:
            self.wrong.append(sentence)

    @property
    def _wire_forbids(self) -> bool:
        ready = self._shows is PilotState.C or (self._shows is PilotState.D and self._ventilation)
        return not ready or not self._sound

    @property
    def _broken(self) -> str:
        if self._faults:
            return min(self._faults)
        if self._tripped:
            return "the grid has tripped"
        return "" if self._authorised else "nobody is authorised"
