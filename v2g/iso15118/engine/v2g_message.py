"""Sessions of editions whose documents are all a `V2G_Message` of header and body: ISO 15118-2 and DIN 70121.

Handshake and messages share the V2GTP payload type 0x8001; the place in the sequence tells them apart. Requests and
responses, as charts and handlers know them, are the elements in the body.
"""

from abc import abstractmethod
from typing import ClassVar, Final, Protocol

from v2g.errors import CodecError, ExiDecodeError, FrameError
from v2g.exi.bits import Deviation
from v2g.exi.declare import Element, Schema
from v2g.iso15118.engine.quirks import Quirk, SeenQuirks
from v2g.iso15118.engine.schemas import APP_PROTOCOL
from v2g.iso15118.engine.sequence import Chart, State
from v2g.iso15118.engine.session import Entropy, OnMessage, Session, decode_padded, ignored
from v2g.iso15118.engine.v2gtp import DEFAULT_MAX_PAYLOAD, PayloadType
from v2g.iso15118.engine.xmldsig import Signature

SESSION_ID_BYTES: Final = 8
"""Maximum length of a SessionID; chargers in the field give 4 bytes, vehicles begin with 0, 1 or 8 zeros."""


class Header(Protocol):
    """The header of a V2G_Message of either edition."""

    @property
    def session_id(self) -> bytes:
        """At most 8 bytes."""

    @property
    def signature(self) -> Signature | None:
        """Of an element in the body."""


def body_of(message: Element) -> Element | None:
    """Return what is in the body of a V2G_Message; any other message itself. None for an empty body."""
    body = getattr(message, "body", None)
    element: Element | None = message if body is None else body.body_element
    return element


def is_request(body: Element) -> bool:
    """Return whether a charger answers what was received, a body or a message of the handshake."""
    return type(body).__name__.endswith("Req")


def decode_message(
    payload: bytes, schema: Schema, *, handshake: bool, deviations: list[Deviation] | None = None
) -> tuple[Element, int]:
    """Return the message of a payload of type 0x8001, and how many zero octets follow its EXI stream (0 to 4).

    `handshake` is whether the handshake is still going on; after it a late handshake message is decoded, too, so that
    it can be refused. What is beyond the schema is added to `deviations`. Raises ExiDecodeError.
    """
    if handshake:
        return decode_padded(payload, APP_PROTOCOL, deviations)
    try:
        return decode_padded(payload, schema, deviations)
    except ExiDecodeError as error:
        try:
            return decode_padded(payload, APP_PROTOCOL, deviations)
        except ExiDecodeError:
            raise error from None


def asks_for_new_session(session_id: bytes) -> bool:
    """Return whether a SessionID in SessionSetupReq names no earlier session: empty or zeros of any length."""
    return not any(session_id)


def is_same_session(given: bytes, received: bytes) -> bool:
    """Return whether a peer sent back the SessionID that it was given; zeros that pad it to 8 bytes do not count."""
    if given == received:
        return True
    short, long = sorted((given, received), key=len)
    padded = len(long) == SESSION_ID_BYTES and any(short)
    return padded and long in (short.ljust(SESSION_ID_BYTES, b"\0"), short.rjust(SESSION_ID_BYTES, b"\0"))


class MessageSession(Session):
    """The engine for these editions; a subclass has its schema and classes, its roles the answers."""

    schema: ClassVar[Schema]
    """The edition's namespace of messages."""

    def __init__(
        self,
        *,
        entropy: Entropy,
        max_payload: int = DEFAULT_MAX_PAYLOAD,
        on_message: OnMessage = ignored,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__(entropy=entropy, max_payload=max_payload, on_message=on_message, time_scale=time_scale)
        self._quirks = SeenQuirks()

    @property
    @abstractmethod
    def chart(self) -> Chart:
        """The sequence chart."""

    def decode(self, payload_type: int, payload: bytes) -> tuple[Element, int]:
        """Return the message of a V2GTP payload: see `Session.decode`."""
        if payload_type != PayloadType.SAP:
            raise FrameError(f"V2GTP payload type {payload_type:#06x} carries no message of {self.schema.uri}")
        handshake = self.state is State.SUPPORTED_APP_PROTOCOL
        return decode_message(payload, self.schema, handshake=handshake, deviations=self._noted())

    @abstractmethod
    def _on_body(self, body: Element, header: Header | None) -> None:
        """A request or response was received; without a header in the handshake."""

    @abstractmethod
    def _wrapped(self, body: Element, signature: Signature | None) -> Element:
        """Return a request or response as a V2G_Message of this session."""

    def _on_discharge(self, payload: bytes) -> None:
        """Ignore an extension of another edition."""
        self._observe("session", "frame_ignored", payload_type=int(PayloadType.SIGNED_DISCHARGE))

    def _on_message(self, message: Element, payload_type: int) -> None:
        body = body_of(message)
        if body is None:
            self._on_broken(CodecError("a V2G_Message with an empty body"))
        else:
            self._on_body(body, getattr(message, "header", None))

    def _send_body(self, body: Element, signature: Signature | None = None) -> None:
        """Send a request or response of this edition."""
        self._send(self._wrapped(body, signature))

    def _tolerate(self, quirk: Quirk) -> None:
        """Report, once a session, that a known quirk of the peer was met."""
        if self._quirks.is_new(quirk):
            self._observe("session", "quirk_tolerated", quirk=quirk.name)

    def _on_padding(self, message: Element, octets: int) -> None:
        super()._on_padding(body_of(message) or message, octets)
