"""Follows matchings passively, by the frames of a line or of a recording: pure.

Nothing is sent or evaluated; participants, progress, and measurements are reported.
"""

import itertools
from collections import OrderedDict
from typing import Final, Literal

import msgspec

from v2g.errors import FrameError
from v2g.slac import mme
from v2g.slac.layout import Mme

Stage = Literal["asking", "answered", "sounding", "measured", "validating", "choosing", "matched"]
STAGES: Final[tuple[Stage, ...]] = ("asking", "answered", "sounding", "measured", "validating", "choosing", "matched")
"""Progress of a vehicle, in order."""

CONVERSATIONS: Final = 64
"""Limit of stored matchings; the oldest is dropped for a new one."""

CHARGERS: Final = 16
"""Limit of stored chargers of one matching."""


class ReportedAttenuation(msgspec.Struct, frozen=True):
    """A charger's report to a vehicle, or its modem's to the charger: dB per carrier group, averaged over `sounds`."""

    evse: str
    sounds: int
    groups: tuple[int, ...]

    @property
    def average_db(self) -> float:
        """The mean over all carrier groups."""
        return round(sum(self.groups) / len(self.groups), 1) if self.groups else 0.0


class WatchedMatching(msgspec.Struct, frozen=True, kw_only=True):
    """One matching of one vehicle. `steps` are stages and when they were reached, ms after `time_ns`. `ignored` is a
    charger's message to the vehicle with another run id, which the vehicle ignores."""

    pev: str
    run_id: str
    time_ns: int
    stage: Stage = "asking"
    steps: tuple[tuple[Stage, float], ...] = ()
    requests: int = 0
    sounds: int = 0
    chargers: tuple[str, ...] = ()
    measured: tuple[ReportedAttenuation, ...] = ()
    chosen: str = ""
    nid: str = ""
    ignored: str = ""


"""Feed every frame to `take`; `conversations` are all matchings seen, oldest first."""


class SlacWatch:
    """Feed every frame to `take`; `conversations` are all matchings seen, oldest first."""

    def __init__(self) -> None:
        self._found: OrderedDict[int, WatchedMatching] = OrderedDict()  # numbered: some vehicles use one run id for all
        self._runs: dict[tuple[str, str], int] = {}  # vehicle and run id -> the newest of them
        self._latest: dict[str, int] = {}  # vehicle -> its matching now
        self._numbers = itertools.count(1)

    @property
    def conversations(self) -> list[WatchedMatching]:
        """All stored matchings, oldest first."""
        return list(self._found.values())

    def take(self, frame: bytes, time_ns: int) -> WatchedMatching | None:
        """Process an Ethernet frame seen at `time_ns`; return the matching that it changed."""
        try:
            received = mme.decode(frame)
        except FrameError:
            return None
        source, destination = received.source.hex(":"), received.destination.hex(":")
        message = received.message
        match message:
            case mme.CmSlacParmReq():
                return self._asked(source, message.run_id.hex(), time_ns)
            case mme.CmSlacParmCnf():
                known = self._answer(destination, message.run_id, source)
                return known and self._go(known, "answered", time_ns, chargers=_with(known.chargers, source))
            case mme.CmStartAttenCharInd() | mme.CmMnbcSoundInd():
                known = self._of(source, message.run_id)
                sounded = isinstance(message, mme.CmMnbcSoundInd)
                return known and self._go(known, "sounding", time_ns, sounds=known.sounds + sounded)
            case mme.CmAttenCharInd():
                known = self._answer(destination, message.run_id, source)
                return known and self._measured(known, source, message, time_ns)
            case _:
                return self._chosen(source, destination, message, time_ns)

    def _chosen(self, source: str, destination: str, message: Mme, time_ns: int) -> WatchedMatching | None:
        match message:
            case mme.CmValidateReq():
                known = self._found.get(self._latest.get(source, 0))
                return known and self._go(known, "validating", time_ns)
            case mme.CmSlacMatchReq():
                known = self._of(source, message.run_id)
                return known and self._go(known, "choosing", time_ns, chosen=message.evse_mac.hex(":"))
            case mme.CmSlacMatchCnf():
                known = self._answer(destination, message.run_id, source)
                return known and self._go(known, "matched", time_ns, chosen=source, nid=message.nid.hex())
            case _:
                return None

    def _asked(self, pev: str, run_id: str, time_ns: int) -> WatchedMatching:
        key = pev, run_id
        known = self._found.get(self._runs.get(key, 0))
        if known is None or known.stage != "asking":  # a restarted run is another matching
            known = WatchedMatching(pev=pev, run_id=run_id, time_ns=time_ns, steps=(("asking", 0.0),))
            self._runs[key] = next(self._numbers)
            if len(self._found) >= CONVERSATIONS:
                gone, _ = self._found.popitem(last=False)
                self._runs = {each: number for each, number in self._runs.items() if number > gone}
                self._latest = {each: number for each, number in self._latest.items() if number > gone}
        number = self._latest[pev] = self._runs[key]
        self._found[number] = msgspec.structs.replace(known, requests=known.requests + 1)
        return self._found[number]

    def _of(self, pev: str, run_id: bytes) -> WatchedMatching | None:
        return self._found.get(self._runs.get((pev, run_id.hex()), 0))

    def _answer(self, pev: str, run_id: bytes, evse: str) -> WatchedMatching | None:
        """Return the matching that a charger's message is for; note one that is for none of the vehicle's."""
        known, latest = self._of(pev, run_id), self._latest.get(pev, 0)
        if known is None and latest in self._found:
            ignored = f"{evse} answers with run {run_id.hex()}"
            self._found[latest] = msgspec.structs.replace(self._found[latest], ignored=ignored)
        return known

    def _measured(
        self, known: WatchedMatching, evse: str, message: mme.CmAttenCharInd, time_ns: int
    ) -> WatchedMatching:
        others = tuple(each for each in known.measured if each.evse != evse)
        if len(others) >= CHARGERS:
            return known
        new = ReportedAttenuation(evse, message.num_sounds, tuple(message.aag))
        return self._go(known, "measured", time_ns, measured=(*others, new), chargers=_with(known.chargers, evse))

    def _go(self, known: WatchedMatching, stage: Stage, time_ns: int, **changes: object) -> WatchedMatching:
        """Change a matching; its stage only advances, also with late frames."""
        if STAGES.index(stage) > STAGES.index(known.stage):
            after_ms = round((time_ns - known.time_ns) / 1e6, 3)
            changes |= {"stage": stage, "steps": (*known.steps, (stage, after_ms))}
        changed: WatchedMatching = msgspec.structs.replace(known, **changes)
        self._found[self._runs[known.pev, known.run_id]] = changed
        return changed


def _with(chargers: tuple[str, ...], evse: str) -> tuple[str, ...]:
    return chargers if evse in chargers or len(chargers) >= CHARGERS else (*chargers, evse)
