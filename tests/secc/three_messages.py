"""An edition that nobody has published, of three messages: Hello, Energy and Bye. They share the payload type of the
handshake, as those of ISO 15118-2 do.
"""

from collections.abc import Callable
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Final

from msgspec import Meta

from secc.session import ports
from secc.session.config import SeccConfig
from secc.session.edition import SessionStart
from secc.session.journal import JournalStatus, open_journal
from secc.session.stages import Authorized, Opened
from v2g.errors import CodecError
from v2g.exi.declare import Element, Schema, UnsignedInt
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine import sequence
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.sequence import Chart, Edge, State
from v2g.iso15118.engine.session import Fact, Session, decode_padded
from v2g.safety import Request

SCHEMA: Final = Schema(uri="urn:example:three", prefix="three", modules=(__name__,), payload_type=0x8001)


class Code(Enum):
    OK = "OK"
    FAILED = "FAILED"


class HelloReq(Element, frozen=True, kw_only=True):
    name: Annotated[str, Meta(max_length=40)]


class HelloRes(Element, frozen=True, kw_only=True):
    response_code: Code
    session: UnsignedInt


class EnergyReq(Element, frozen=True, kw_only=True):
    watts: UnsignedInt


class EnergyRes(Element, frozen=True, kw_only=True):
    response_code: Code
    watts: UnsignedInt


class ByeReq(Element, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(max_length=40)]


class ByeRes(Element, frozen=True, kw_only=True):
    response_code: Code


ELEMENTS: Final = {each.__name__: each for each in (HelloReq, HelloRes, EnergyReq, EnergyRes, ByeReq, ByeRes)}

CHART: Final[Chart] = {
    State.SUPPORTED_APP_PROTOCOL: {"SupportedAppProtocolReq": (Edge(State.SESSION_SETUP),)},
    State.SESSION_SETUP: {"HelloReq": (Edge(State.POWER_DELIVERY),)},
    State.POWER_DELIVERY: {"EnergyReq": (Edge(State.POWER_DELIVERY),), "ByeReq": (Edge(State.ENDED),)},
}


def decode(payload: bytes, schema: Schema = SCHEMA) -> Any:
    return decode_padded(payload, schema)[0]


class ThreeMessages(Session):
    """Its session: energy up to what is allowed, once somebody outside has authorised the vehicle."""

    scheduled = bidirectional = False

    def __init__(self, start: SessionStart) -> None:
        super().__init__(entropy=start.connection.entropy, on_message=start.on_message)
        self._config, self._connection, self._limits, self.facts = (
            start.config, start.connection, start.limits, start.facts,
        )  # fmt: skip
        self._journal = JournalStatus()
        self._waiting: HelloReq | None = None

    def decode(self, payload_type: int, payload: bytes) -> tuple[Any, int]:
        schema = APP_PROTOCOL if self.state is State.SUPPORTED_APP_PROTOCOL else SCHEMA
        return decode_padded(payload, schema)

    def _on_start(self) -> None:
        self._arm("sequence", 60.0)

    def _on_message(self, message: Any, payload_type: int) -> None:
        if not sequence.accepts(self.state, message, CHART):
            self._on_abort("FAILED_SequenceError")
            return
        match message:
            case app.SupportedAppProtocolReq():
                (mine,) = (each for each in message.app_protocol if each.protocol_namespace == SCHEMA.uri)
                code = app.ResponseCode.OK_SuccessfulNegotiation
                self._answer(message, app.SupportedAppProtocolRes(response_code=code, schema_id=mine.schema_id))
            case HelloReq():
                self._waiting = message
                self._command(ports.AuthorizeExternally(1))
            case EnergyReq(watts=watts):
                allowed = min(watts, self._limits.effective(self._time.utc_ms).charge_w)
                self._command(ports.RecordMeter("direction", power_w=allowed, soc=None))
                self._answer(message, EnergyRes(response_code=Code.OK, watts=allowed))
            case ByeReq(reason=reason):
                self._answer(message, ByeRes(response_code=Code.OK))
                self._on_abort(reason)

    def _answer(self, request: Any, response: Any) -> None:
        self.state = sequence.advance(self.state, request, response, CHART)
        self._send(response)
        self._arm("sequence", 60.0)

    def _on_fact(self, fact: Fact) -> None:
        self.facts = self.facts.updated(fact)
        if isinstance(fact, ports.GridChanged):
            self._limits.update(fact.limits)
        if isinstance(fact, ports.AuthorizationDecided) and self._waiting is not None:
            hello, self._waiting = self._waiting, None
            self._begin(hello)
            self._answer(hello, HelloRes(response_code=Code.OK, session=int.from_bytes(self.session_id[:4], "big")))

    def _begin(self, hello: HelloReq) -> None:
        self.session_id = self._entropy(8)
        about: Any = SimpleNamespace(config=self._config, connection=self._connection, facts=self.facts)
        authorized = Authorized(Opened(self.session_id, hello.name), None)
        commands = (
            *open_journal(about, authorized, "", "none"),
            ports.TransactionStarted(self.session_id.hex(), "", hello.name),
        )
        for command in commands:
            self._journal.watch(command)
            self._command(command)

    def _on_discharge(self, payload: bytes) -> None:
        self._on_abort("unexpected_message")

    def _on_broken(self, error: CodecError) -> None:
        self._on_abort("undecodable")

    def _on_eof(self) -> None:
        self._on_abort("connection_lost")

    def _on_timer(self, name: str) -> None:
        self._on_abort("sequence_timeout")

    def _on_abort(self, reason: str) -> None:
        self._command(*self._journal.close(self.session_id, reason, None))
        self._close(reason)


class Three:
    """See secc.session.edition.Edition."""

    def __init__(self) -> None:
        self.sessions: list[ThreeMessages] = []

    def serves(self, protocol: app.AppProtocol, config: SeccConfig) -> bool:
        return protocol.protocol_namespace == SCHEMA.uri

    def session(self, start: SessionStart) -> ThreeMessages:
        self.sessions.append(ThreeMessages(start))
        return self.sessions[-1]

    def reader(self, config: SeccConfig, *, interop: bool) -> Callable[[Any, int], Request]:
        return lambda message, stream: Request()
