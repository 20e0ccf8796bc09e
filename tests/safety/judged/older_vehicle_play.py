"""Plays lists of steps to a vehicle of ISO 15118-2 or DIN 70121, before the judge of `older_vehicle_rule`: see
`vehicle_play`. This one's command is `python -m tests.safety.judged.older_vehicle_play EDITION KIND '[[...], ...]'`.
"""

import asyncio
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
from msgspec.structs import replace

from evcc.session.d2.session import Vehicle2
from evcc.session.din.session import DinVehicle
from evcc.session.edition import Connection, MessageReader
from evcc.session.settings import (
    AuthorizationConfig,
    DischargeConfig,
    NeedsConfig,
    ProgramStep,
    ServiceConfig,
    SessionConfig,
    TimingConfig,
)
from evcc.session.v2g_message.safety import V2gMessages
from tests import patient
from tests.evcc.session.d2.charger import Charger2
from tests.evcc.session.din.charger import DinCharger
from tests.evcc.session.message_bench import SESSION_ID, ScriptedCharger, answer
from tests.safety.judged import vehicle_play as player
from tests.safety.judged.older_play import WAYS, EditionWord
from tests.safety.judged.older_vehicle_rule import OlderVehicleJudge
from tests.safety.judged.steps import Chances, Step, reported, script, walk
from tests.safety.judged.vehicle_play import CONDUCTORS, FAULTS, FORCES, Charger, Part, Play, Said
from tests.safety.judged.vehicle_rig import ANSWER_S, MOST_MA
from tests.safety.vehicle_places import Kind
from v2g import exi
from v2g.errors import V2GError
from v2g.exi.declare import Schema
from v2g.io.simulation.lines import VehicleDc
from v2g.io.simulation.medium import Medium
from v2g.iso15118.d2.schemas import ISO2
from v2g.iso15118.din.schemas import DIN
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.physical_values import Rounding
from v2g.iso15118.engine.v2g_message import body_of, decode_message
from v2g.iso15118.engine.v2gtp import PayloadType, frame

PROGRAM: Final = (
    ProgramStep(do="charge", for_s=3),
    ProgramStep(do="wait", for_s=2),
    ProgramStep(do="charge", for_s=36_000),
)
WAY_S: Final = 0.005
LOOPS: Final = {"dc": "CurrentDemandReq", "ac": "ChargingStatusReq"}


# -- the charger ------------------------------------------------------------------------------------------------------


class Stranger(msgspec.Struct):
    """A message of another session."""

    body: Any


class OlderCharger(Charger):
    """Answers as `book` does, but for what `wrongs` says."""

    schema: ClassVar[Schema]
    scripted: ClassVar[type[ScriptedCharger]]

    def __init__(self, kind: Kind, medium: Medium) -> None:
        super().__init__(kind, medium)
        self.ways = WRONGS
        self._wanted_ma = 0
        self._open()

    def _open(self) -> None:
        self.book, self._named = self.scripted(), False
        polled = ("AuthorizationReq", "ContractAuthenticationReq", "ChargeParameterDiscoveryReq", "CableCheckReq")
        self.book.ongoing = dict.fromkeys((*polled, "PreChargeReq"), 1)

    def again(self) -> None:
        super().again()
        self._framer = type(self._framer)()
        self._open()

    def _on_lines(self, response: Any) -> Any:
        if self.line_a is None or type(response).__name__ != "ChargingStatusRes":
            return response
        most = self.book.values.current(round(self.line_a * 1000), Rounding.DOWN)
        return replace(response, evse_max_current=most)

    def hear(self, data: bytes) -> None:
        """Take what the vehicle sends, which takes its time on the way, and answer."""
        for each in self._framer.feed(data):
            message, _ = decode_message(each.payload, self.schema, handshake=not self._named)
            self._named = True
            asyncio.get_running_loop().call_later(WAY_S, self._serve, body_of(message), self.answer)

    def _serve(self, request: Any, way: Callable[[bytes], None]) -> None:
        if way is not self.answer:  # the connection is another one by now
            return
        self.requests.append(request)
        self._obey(request)
        self.book.current = self.driven[1] / 1000
        response = answer(self.book, request)
        if type(request).__name__ == "CurrentDemandReq":
            present = self.book.values.voltage(max(0, self.driven[0]), Rounding.NEAREST)
            response = replace(response, evse_present_voltage=present)
        self.reply(request, response, PayloadType.SAP)

    def wanted_ma(self, vehicle: VehicleDc) -> int:
        return min(MOST_MA, self._wanted_ma)

    def _obey(self, request: Any) -> None:
        match type(request).__name__:
            case "PreChargeReq":
                self._target_mv = round(_number(request.ev_target_voltage) * 1000)
            case "CurrentDemandReq":
                self._wanted_ma = max(0, round(_number(request.ev_target_current) * 1000))
            case "PowerDeliveryReq":
                wish = _wish(request)
                self._powered, self._wanted_ma = wish == "Start", 0
                if wish != "Start":
                    self._target_mv = 0
        self.act()

    def _labelled(self, request: Any) -> str:
        name = type(request).__name__
        if name in LOOPS.values():
            self._looped = True
        if name == "SessionStopReq":
            return f"{name} {request.charging_session.name}" if hasattr(request, "charging_session") else name
        anew = " anew" if self._looped else ""
        if name == "PowerDeliveryReq":
            wish = _wish(request)
            return f"{name} {wish}{anew if wish == 'Start' else ''}"
        return f"{name}{anew}" if name in ("ChargeParameterDiscoveryReq", "CableCheckReq", "PreChargeReq") else name

    def _say(self, answer: Any, response: Any, payload_type: int) -> None:
        if isinstance(answer, bytes):
            if not isinstance(answer, Part):
                self.babbles()
            self.answer(answer)
            return
        try:
            data = self._encoded(answer)
        except V2GError:  # what is wrong cannot be said of this answer
            answer, data = response, self._encoded(response)
        if isinstance(answer, Stranger):
            self.strange()
        else:
            self.answers(answer, payload_type)
        self.answer(frame(PayloadType.SAP, data))

    def strange(self) -> None:
        """A message of another session is about to be sent."""

    def _encoded(self, answer: Any) -> bytes:
        if isinstance(answer, app.SupportedAppProtocolRes):
            return exi.encode(answer)
        strange = isinstance(answer, Stranger)
        self.book.session_id = b"stranger" if strange else SESSION_ID
        data = exi.encode(self.book.message(answer.body if strange else answer))
        self.book.session_id = SESSION_ID
        return data


def _wish(request: Any) -> str:
    progress = getattr(request, "charge_progress", None)
    return str(progress.name) if progress is not None else "Start" if request.ready_to_charge_state else "Stop"


def _number(value: Any) -> float:
    return float(value.value) * 10.0 ** int(value.multiplier)


class Station2(OlderCharger):
    """ISO 15118-2."""

    schema, scripted = ISO2, Charger2


class StationDin(OlderCharger):
    """DIN 70121."""

    schema, scripted = DIN, DinCharger


# -- how an answer can be wrong ---------------------------------------------------------------------------------------


def _code(word: str) -> Callable[[Any], Said]:
    def coded(response: Any) -> Said:
        codes = type(response.response_code)
        if isinstance(response, app.SupportedAppProtocolRes):
            code = codes.Failed_NoNegotiation if word.startswith("FAILED") else response.response_code
            return [(replace(response, response_code=code), ANSWER_S)]
        known = word in codes.__members__
        return [(replace(response, response_code=codes[word]) if known else response, ANSWER_S)]

    return coded


def _everywhere(change: Callable[[Any], Any]) -> Callable[[Any], Said]:
    """Change every part of an answer."""

    def changed(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(changed(each) for each in part)
        if not isinstance(part, msgspec.Struct):
            return part
        known = {name: getattr(part, name) for name in part.__struct_fields__}
        return change(replace(part, **{name: changed(value) for name, value in known.items() if value is not None}))

    return lambda response: [(changed(response), ANSWER_S)]


def _values(change: Callable[[Any], Any]) -> Callable[[Any], Said]:
    return _everywhere(lambda part: change(part) if hasattr(part, "multiplier") else part)


def _field(name: str, word: str | int) -> Callable[[Any], Said]:
    """Give a field of this name another value of its own enumeration; 1 and 0 of a truth value."""

    def change(part: Any) -> Any:
        known = getattr(part, name, None)
        if known is None:
            return part
        kind = type(known)
        if isinstance(word, str):
            return replace(part, **{name: kind[word]}) if word in kind.__members__ else part
        return replace(part, **{name: bool(word)})

    return _everywhere(change)


def _another(response: Any) -> Any:
    """Return an answer to something else."""
    module = sys.modules[type(response).__module__]
    if isinstance(response, app.SupportedAppProtocolRes):
        return response
    name = type(response).__name__
    kind = getattr(module, "SessionStopRes", None)
    if kind is None or name == "SessionStopRes":
        return Stranger(response)
    return kind(response_code=response.response_code)


def _half(response: Any) -> Said:
    return [(Part(frame(PayloadType.SAP, b"\x80" * 40)[:-3]), ANSWER_S)]


CODES: Final = (
    *("OK", "OK_CertificateExpiresSoon", "OK_OldSessionJoined", "FAILED", "FAILED_SequenceError"),
    *("FAILED_UnknownSession", "FAILED_ContactorError", "FAILED_PowerDeliveryNotApplied"),
)
STATUSES: Final = (
    *("EVSE_NotReady", "EVSE_Ready", "EVSE_Shutdown", "EVSE_UtilityInterruptEvent", "EVSE_EmergencyShutdown"),
    *("EVSE_IsolationMonitoringActive", "EVSE_Malfunction", "Reserved_8"),
)
NOTICES: Final = ("StopCharging", "ReNegotiation")
WRONGS: Final[Mapping[str, Callable[[Any], Said]]] = {
    "none": lambda _: [],
    "late": lambda response: [(response, 0.4)],
    "later": lambda response: [(response, 1.7)],
    "too late": lambda response: [(response, 7.0)],
    "twice": lambda response: [(response, ANSWER_S), (response, 2 * ANSWER_S)],
    "garbage": lambda _: [(b"no frame of anybody's", ANSWER_S)],
    "no EXI": lambda _: [(frame(PayloadType.SAP, b"\xff" * 20), ANSWER_S)],
    "half": _half,
    "end": lambda _: [(b"", ANSWER_S)],
    "another": lambda response: [(_another(response), ANSWER_S)],
    "another before": lambda response: [(_another(response), ANSWER_S / 2), (response, ANSWER_S)],
    "stranger": lambda response: [(Stranger(response), ANSWER_S)],
    "Ongoing": _field("evse_processing", "Ongoing"),
    "Finished": _field("evse_processing", "Finished"),
    "insulation": _field("evse_isolation_status", "Fault"),
    "residual current": _field("rcd", 1),
    "receipt": _field("receipt_required", 1),
    "more": _values(lambda number: replace(number, multiplier=min(3, number.multiplier + 1))),
    "less": _values(lambda number: replace(number, multiplier=max(-3, number.multiplier - 1))),
    "nothing": _values(lambda number: replace(number, value=0)),
    "reversed": _values(lambda number: replace(number, value=-number.value)),
    **{code: _code(code) for code in CODES},
    **{f"status {each}": _field("evse_status_code", each) for each in STATUSES},
    **{f"notice {each}": _field("evse_notification", each) for each in NOTICES},
}
"""How an answer is wrong -> what is said instead of the one by the book. An answer that has no such part is right."""

FOR_EVER: Final = ("Ongoing", "less", "nothing", "late")
"""What is also said again and again."""


# -- the play ---------------------------------------------------------------------------------------------------------

_OPENING: Final = ("SupportedAppProtocolReq", "SessionSetupReq", "ServiceDiscoveryReq")
_DC: Final = ("CableCheckReq", "PreChargeReq")
STATES: Final[Mapping[tuple[EditionWord, Kind], tuple[str, ...]]] = {
    ("din", "dc"): (
        *(*_OPENING, "ServicePaymentSelectionReq", "ContractAuthenticationReq", "ChargeParameterDiscoveryReq", *_DC),
        *("PowerDeliveryReq Start", LOOPS["dc"], "PowerDeliveryReq Stop", "WeldingDetectionReq", "SessionStopReq"),
    ),
    ("2", "dc"): (
        *(*_OPENING, "PaymentServiceSelectionReq", "AuthorizationReq", "ChargeParameterDiscoveryReq", *_DC),
        *("PowerDeliveryReq Start", LOOPS["dc"], "PowerDeliveryReq Renegotiate", "ChargeParameterDiscoveryReq anew"),
        *("CableCheckReq anew", "PreChargeReq anew", "PowerDeliveryReq Start anew", "PowerDeliveryReq Stop"),
        *("WeldingDetectionReq", "SessionStopReq Terminate", "SessionStopReq Pause"),
    ),
    ("2", "ac"): (
        *(*_OPENING, "PaymentServiceSelectionReq", "AuthorizationReq", "ChargeParameterDiscoveryReq"),
        *("PowerDeliveryReq Start", LOOPS["ac"], "PowerDeliveryReq Renegotiate", "ChargeParameterDiscoveryReq anew"),
        *("PowerDeliveryReq Start anew", "PowerDeliveryReq Stop", "SessionStopReq Terminate", "SessionStopReq Pause"),
    ),
}
"""Each state of the vehicle's chart, by the request whose answer it waits for."""


class OlderPlay(Play):
    """A rig of this edition whose judge observes everything."""

    judging = OlderVehicleJudge
    loops = LOOPS
    wrongs = WRONGS
    word: ClassVar[EditionWord]

    def __init__(self, *others: Any) -> None:
        super().__init__(*others)
        assert isinstance(self.station, OlderCharger)
        self.station.strange = lambda: self.judge.parts("a message is of another session", self.now)  # type: ignore[method-assign]
        self.closing = self.station.book.ok("SessionStopReq")

    def begun(self, entropy: Callable[[int], bytes], resume: Any) -> Any:
        made: Any = Vehicle2 if self.word == "2" else DinVehicle
        brought = Connection(battery=self.channel.battery, entropy=entropy, secc_certificate=b"leaf", resume=resume)
        return made(self.config, brought)

    def reader(self) -> MessageReader:
        if self.word == "2":
            return V2gMessages(self.config, self.config.timers_2, ISO2)
        return V2gMessages(self.config, self.config.timers_din, DIN)

    async def do_to(self, state: str) -> None:
        """Wait for the request of this state, and bring about what leads to it."""
        if state.endswith(("anew", "Renegotiate")):
            await self._loops()
            await self.do_notice("ReNegotiation")
        elif state.startswith(("PowerDeliveryReq Stop", "WeldingDetectionReq", "SessionStopReq")):
            await self._loops()
            await self.do_driver("pause" if state.endswith("Pause") else "stop")
        if self.station.label != state:
            await self._reached(state)

    async def do_notice(self, name: str) -> None:
        self.station.wrongs[self.loops[self.kind]] = f"notice {name}", 1


class Play2(OlderPlay):
    """ISO 15118-2."""

    word = "2"


class PlayDin(OlderPlay):
    """DIN 70121."""

    word = "din"


DONE: Final[tuple[Step, ...]] = (
    *(("fault", name) for name in FAULTS),
    *(("force", *each) for each in FORCES),
    ("deaf",),
    *(("wires", how) for how in ("crowded", "strays", "leaks")),
    *(("line", amperes) for amperes in (0, 6, 13)),
    *(("driver", wish) for wish in ("stop", "pause")),
    ("needs", 95),
    ("unplug",),
    ("abort",),
    ("duty", None),
    *(("notice", each) for each in NOTICES),
    *(("say", how) for how in ("twice", "garbage", "half", "end", "another")),
)
"""Whatever can happen beside an answer."""

_MILD: Final[tuple[Step, ...]] = (
    ("obey",),
    ("obey",),
    *(("fault", name, False) for name in FAULTS),
    ("needs", 90),
    ("needs", 95),
    ("notice", "ReNegotiation"),
)
"""What a session outlives."""


def _answers_of(word: EditionWord, kind: Kind, chance: random.Random) -> Sequence[Step]:
    """Return a wrong answer to something that is about to be asked."""
    late = STATES[word, kind][5:]
    times = chance.choice((1, 1, 3, -1))
    return [("answer", chance.choice(late), chance.choice(tuple(WRONGS)), times), ("wait", 0.3)]


def wander(word: EditionWord, kind: Kind, seed: int, count: int) -> list[Step]:
    """Return random steps, of which most let power flow."""
    chances: Chances = {
        "wait": (30, lambda chance: [("wait", chance.choice((0.02, 0.05, 0.1, 0.2, 0.4)))]),
        "long": (2, lambda chance: [("wait", chance.choice((1.2, 2.5, 5.5)))]),
        "charge": (8, lambda _: [("charge",), ("wait", 0.2)]),
        "again": (1, lambda _: [("again",)]),
        "to": (2, lambda chance: [("charge",), ("to", chance.choice(STATES[word, kind][6:]))]),
        "answer": (8, lambda chance: _answers_of(word, kind, chance)),
        "mild": (20, lambda chance: [chance.choice(_MILD)]),
        "done": (4, lambda chance: [chance.choice(DONE)]),
        "both": (2, lambda chance: [chance.choice(DONE), chance.choice(DONE)]),
        **(CONDUCTORS if kind == "ac" else {}),
    }
    chance = random.Random(f"{word} {kind} {seed}")
    first: list[Step] = [("phases", chance.choice((1, 2, 3, 3)))] if kind == "ac" else []
    return walk(chance, count, chances, first=[*first, ("charge",)])


def settings(word: EditionWord, kind: Kind) -> SessionConfig:
    """Return a vehicle that charges, waits and charges for long."""
    energy: Any = ("AC",) if kind == "ac" else ("DC",)
    return SessionConfig(
        program=PROGRAM,
        services=ServiceConfig(energy=energy),
        authorization=AuthorizationConfig(allow_eim=True, prefer_eim=True),
        needs=NeedsConfig(target_soc=95),
        timing=TimingConfig(loop_pause_s=0.2),
        discharge=DischargeConfig(require_signed=False),
    )


def play(
    word: EditionWord,
    kind: Kind,
    steps: Sequence[Step],
    *,
    guarded: bool = True,
    reached: Callable[[str], None] | None = None,
) -> list[str]:
    """See `tests.safety.judged.vehicle_play.play`; `reached` is called with the state in which the steps end."""
    made, charger = (Play2, Station2) if word == "2" else (PlayDin, StationDin)
    if reached is not None:
        note = reached

        class Noted(made):  # type: ignore[misc, valid-type]
            async def do_note(self) -> None:
                note(self.station.label)

        made, steps = Noted, (*steps, ("note",))
    return player.play(
        kind, "scheduled", steps, guarded=guarded, made=made, charger=charger, config=settings(word, kind)
    )


def command(word: EditionWord, kind: Kind, steps: Sequence[Step]) -> str:
    """Return a command that plays the steps again."""
    return script("tests.safety.judged.older_vehicle_play", (word, kind), steps)


def main(arguments: Sequence[Any]) -> int:
    """Play the steps that are given, and print what was wrong."""
    word, kind, text = arguments
    patient.install()  # programs read the time of the loop
    return reported(play(word, kind, json.loads(text)))


__all__ = ["DONE", "FOR_EVER", "STATES", "WAYS", "WRONGS", "command", "play", "wander"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
