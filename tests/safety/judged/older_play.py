"""Plays lists of steps to a charger of ISO 15118-2 or DIN 70121, before the judge of `older_rule`: see `play`. This
one's command is `python -m tests.safety.judged.older_play EDITION KIND '[[...], ...]'`.
"""

import asyncio
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.hardware.config import Kind
from secc.session.config import EnergyService, SeccConfig
from secc.session.d2.session import Iso2, Iso2Session
from secc.session.din.session import Din, DinSession
from secc.session.edition import Edition
from secc.session.session import ChargerSession
from tests.safety.judged import play as player
from tests.safety.judged.older_rule import OlderJudge
from tests.safety.judged.play import IN_TURNS, MILD, PHASES, SWINGS, TOLD, Play, Variant, said
from tests.safety.judged.play import LINES as LIMITED_LINES
from tests.safety.judged.rig import UTC_MS
from tests.safety.judged.steps import Chances, Step, script, walk
from tests.secc.session.d2 import bench as d2
from tests.secc.session.din import bench as din
from tests.secc.session.message_bench import MessageBench
from v2g import exi
from v2g.iec61851.pilot import PilotState
from v2g.iso15118.d2.messages.data_types import ChargeProgress, ChargingSession
from v2g.iso15118.d20.messages.common_messages import Authorization
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import Framer, PayloadType, frame

EditionWord = Literal["2", "din"]
WAYS: Final[tuple[tuple[EditionWord, Kind], ...]] = (("2", "dc"), ("2", "ac"), ("din", "dc"))
LINES: Final = 3
MOST_W: Final = 22_000


class OlderPlay(Play):
    """A rig whose vehicle has messages of these editions, as `book` makes them."""

    served: ClassVar[Edition]
    tls: ClassVar = False
    renegotiating = "ChargeParameterDiscoveryReq"
    book: MessageBench

    def __init__(self, pki: PkiTree, kind: Kind, *others: Any) -> None:
        self.book = self.bench(pki, kind)
        self._told_a = 0.0
        super().__init__(pki, kind, *others)
        self.selection = (1, 0, False)

    @classmethod
    def bench(cls, pki: PkiTree, kind: Kind) -> MessageBench:
        """Return what makes the vehicle's messages."""
        raise NotImplementedError

    def judging(self) -> OlderJudge:
        return OlderJudge(mains=self.kind == "ac")

    def connect(self, paused: Any = None) -> None:
        self._session_id, self._handshake, self.framer = b"\0", True, Framer()
        super().connect(paused)

    def reader(self) -> Callable[[Any, int], Any]:
        return self.served.reader(self.config, interop=False)

    @property
    def ways(self) -> Mapping[State, tuple[str, ...]]:
        return self.book.ways

    @property
    def loop_request(self) -> str:
        return "ChargingStatusReq" if self.kind == "ac" else "CurrentDemandReq"

    # -- messages

    def ask(self, name: str, **changes: Any) -> Any:
        request = self.book.ask(name, **changes)
        mode = getattr(request, "requested_energy_transfer_mode", None)
        if self.kind == "ac" and mode is not None and self.says_phases < LINES:
            return replace(request, requested_energy_transfer_mode=type(mode).AC_single_phase_core)
        return request

    def framed(self, request: Any, stream: int | None = None) -> bytes:
        handshake = isinstance(request, SupportedAppProtocolReq)
        message = request if handshake else self.book.wrapped(self._session_id, request)
        return frame(PayloadType.SAP, exi.encode(message))

    def _take(self, data: bytes) -> None:
        for each in self.framer.feed(data):
            message, _ = decode_message(each.payload, self.book.schema, handshake=self._handshake)
            self._handshake = False
            self._session_id = message.header.session_id if hasattr(message, "header") else self._session_id
            self.responses.append(body_of(message))

    def goes_on(self, response: Any) -> bool:
        reached = getattr(response, "evse_present_voltage", None)
        if type(response).__name__ == "PreChargeRes" and reached is not None:
            return bool(reached.value * 10.0**reached.multiplier < 390)
        processing = getattr(response, "evse_processing", None)
        return processing is not None and processing.name != "Finished"

    def _follow(self, response: Any) -> None:
        parameter = getattr(response, "evse_charge_parameter", response)
        most = getattr(parameter, "evse_max_current", None)
        if self.car.ac is None:
            return
        if most is not None:
            self._told_a = most.value * 10.0**most.multiplier
        self.car.ac.limit(MOST_W)
        self.car.ac.drive(round(min(MOST_W, self._told_a * self.car.phases * 230)))

    async def step(self, name: str) -> Any:
        await self._by_the_book(name)

    async def _by_the_book(self, name: str) -> None:
        if name in ("WeldingDetectionReq", "SessionStopReq"):
            self.car.switch(closed=False)
            self._show(PilotState.B)
            await asyncio.sleep(0.05)
        await super()._by_the_book(name)

    # -- what can be said

    @property
    def variants(self) -> Mapping[str, Mapping[str, Variant]]:
        return {
            "PowerDeliveryReq": {each: self._said(**self.progress(each)) for each in self.progresses},
            "SessionStopReq": {each: self._said(**fields) for each, fields in self.stops.items()},
            "PreChargeReq": {
                "": self._said(),
                **{f"to {v} V": self._said(ev_target_voltage=self.book.volts(v)) for v in (0, 300, 900)},
            },
            "CurrentDemandReq": {
                "": self._said(),
                "low power": self._said(ev_maximum_power_limit=self.book.values.power(2_000, d2.Rounding.NEAREST)),
                "no power": self._said(ev_maximum_power_limit=self.book.values.power(0, d2.Rounding.NEAREST)),
                "low current": self._said(ev_maximum_current_limit=self.book.amperes(5)),
                "low voltage": self._said(ev_maximum_voltage_limit=self.book.volts(380)),
                "wants more": self._said(
                    ev_target_current=self.book.amperes(60), ev_target_voltage=self.book.volts(450)
                ),
                "wants less": self._said(ev_target_current=self.book.amperes(3)),
                "wants back": self._said(ev_target_current=self.book.amperes(-30)),
                "wants to stop": self._said(ev_target_current=self.book.amperes(0), charging_complete=True),
                **{each: self._said(dc_ev_status=self._status(each)) for each in ERRORS},
            },
        }

    stops: ClassVar[Mapping[str, Mapping[str, Any]]]
    progresses: ClassVar[tuple[str, ...]]

    def progress(self, word: str) -> dict[str, Any]:
        """Return what a PowerDeliveryReq says."""
        raise NotImplementedError

    async def deliver(self, progress: str, **changes: Any) -> Any:
        word = {"ScheduleRenegotiation": "Renegotiate"}.get(progress, progress)
        return await self.say("PowerDeliveryReq", **self.progress(word), **changes)

    def _said(self, **changes: Any) -> Variant:
        return lambda _: (changes, None)

    def _status(self, code: str) -> Any:
        return replace(self.book.status(), ev_error_code=self.book.types.DC_EVErrorCode(code))

    async def do_errs(self, code: str) -> None:
        """Report this error from now on."""
        self.book.error = code

    async def do_again(self) -> None:
        self.book.error = "NO_ERROR"
        await super().do_again()

    async def do_say(self, name: str, variant: str = "") -> None:
        if name == "PowerDeliveryReq" and variant == "Start":
            self.car.switch(closed=True)
        await super().do_say(name, variant)


class Play2(OlderPlay):
    """ISO 15118-2."""

    served = Iso2()
    edition: ClassVar[type[ChargerSession]] = Iso2Session
    requests = d2.REQUESTS
    stops = {each.name: {"charging_session": each} for each in ChargingSession}  # noqa: RUF012
    progresses = tuple(each.name for each in ChargeProgress)

    @classmethod
    def bench(cls, pki: PkiTree, kind: Kind) -> MessageBench:
        return d2.Iso2Bench(pki, UTC_MS, alternating=kind == "ac")

    def progress(self, word: str) -> dict[str, Any]:
        return {"charge_progress": ChargeProgress[word]}


class PlayDin(OlderPlay):
    """DIN 70121."""

    served = Din()
    edition: ClassVar[type[ChargerSession]] = DinSession
    requests = din.REQUESTS
    stops = {"": {}}  # noqa: RUF012
    progresses = ("Start", "Stop")

    @classmethod
    def bench(cls, pki: PkiTree, kind: Kind) -> MessageBench:
        return din.DinBench(pki, UTC_MS)

    def progress(self, word: str) -> dict[str, Any]:
        return {"ready_to_charge_state": word == "Start"}


ERRORS: Final = ("FAILED_RESSTemperatureInhibit", "FAILED_ChargingVoltageOutOfRange", "NoData")
"""Error codes of a vehicle."""

PLAYS: Final[Mapping[EditionWord, type[OlderPlay]]] = {"2": Play2, "din": PlayDin}
DONE: Final = (*(step for step in TOLD if step[0] != "sign"), ("errs", ERRORS[0]))
"""Every fact, and whatever else can happen."""

_VARIANTS: Final[Mapping[EditionWord, Mapping[str, Sequence[str]]]] = {
    word: {
        "PowerDeliveryReq": made.progresses,
        "SessionStopReq": tuple(made.stops),
        "PreChargeReq": ("", "to 0 V", "to 300 V", "to 900 V"),
        "CurrentDemandReq": (
            *("", "low power", "no power", "low current", "low voltage", "wants more", "wants less", "wants back"),
            *("wants to stop", *ERRORS),
        ),
    }
    for word, made in PLAYS.items()
}
SAYS: Final[Mapping[EditionWord, tuple[Step, ...]]] = {
    word: said(made.requests, _VARIANTS[word])  # type: ignore[arg-type]
    for word, made in PLAYS.items()
}
"""Every request, in every variant."""


def config(word: EditionWord) -> SeccConfig:
    """Return a charger of this edition."""
    return SeccConfig(
        editions=(word,), authorization=(Authorization.EIM,), services=(EnergyService.DC, EnergyService.AC)
    )


def play(pki: PkiTree, folder: Path, word: EditionWord, kind: Kind, steps: Sequence[Step], **how: Any) -> list[str]:
    """See `tests.safety.judged.play.play`."""
    return player.play(pki, folder, kind, steps, made=PLAYS[word], config=config(word), **how)


def command(word: EditionWord, kind: Kind, steps: Sequence[Step]) -> str:
    """Return a command that plays the steps again."""
    return script("tests.safety.judged.older_play", (word, kind), steps)


def _chances(word: EditionWord) -> Chances:
    mild = [*(step for step in MILD if step[0] != "sign"), ("errs", "NO_ERROR")]
    return {
        "onward": (6, lambda chance: [("onward",)] * chance.randint(1, 4)),
        "charge": (12, lambda _: [("charge",), ("loop", 0.5)]),
        "loop": (30, lambda chance: [("loop", round(chance.uniform(0.1, 2.0), 1))]),
        "fit": (18, lambda chance: [("fit", chance.randrange(1000))]),
        "wait": (12, lambda chance: [("wait", chance.choice((0.05, 0.2, 0.4, 0.8, 2.2, 3.0)))]),
        "long": (1, lambda chance: [("wait", chance.choice((8.0, 65.0)))]),
        "in turns": IN_TURNS,
        "lines": LIMITED_LINES,
        "swings": SWINGS,
        "say": (2, lambda chance: [chance.choice(SAYS[word])]),
        "mild": (30, lambda chance: [chance.choice(mild)]),
        "harsh": (5, lambda chance: [chance.choice(DONE)]),
    }


def wander(word: EditionWord, kind: Kind, seed: int, count: int) -> list[Step]:
    """Return random steps, of which most go on by the book, so that power flows."""
    chance = random.Random(f"{word} {kind} {seed}")
    first: list[Step] = [("phases", *chance.choice(chance.choice(PHASES)))] if kind == "ac" else []
    first += [("charge",)] if chance.random() < 0.5 else []
    return walk(chance, count, _chances(word), first=first)


if __name__ == "__main__":
    edition_word: Any = sys.argv[1]
    sys.exit(player.main(sys.argv[2:], lambda pki, folder, *rest: play(pki, folder, edition_word, *rest)))
