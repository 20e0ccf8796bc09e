"""A session's interface: for a runner, which drives it, and for a trace."""

from typing import Protocol

from v2g.errors import CodecError, FrameError
from v2g.exi.declare import Element
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Action, Fact, Received, Session


class Core(Protocol):
    """A session that can be run: a `v2g.iso15118.engine.session.Session`, or a wrapper that behaves like one."""

    @property
    def closed(self) -> bool:
        """Whether Close is among the returned or pending actions."""

    @property
    def reason(self) -> str:
        """Why the session ended, or empty."""

    def start(self, now: float, utc_ms: int) -> None:
        """Begin."""

    def receive(self, data: bytes, now: float, utc_ms: int) -> None:
        """Receive plaintext of the connection, split in any way."""

    def receive_eof(self, now: float, utc_ms: int) -> None:
        """The peer closed, or the link is lost."""

    def fact(self, fact: Fact, now: float, utc_ms: int) -> None:
        """Handle a result or a change of state."""

    def tick(self, now: float, utc_ms: int) -> None:
        """Expire all due timers."""

    def abort(self, reason: str, now: float, utc_ms: int) -> None:
        """End at once and safely."""

    def deadline(self) -> float | None:
        """Return when `tick` has to be called, or None."""

    def actions(self) -> list[Action]:
        """Return the pending actions, in order, and clear them."""


class Conversation(Core, Protocol):
    """A core whose messages can be recorded."""

    @property
    def state(self) -> State:
        """The place in the sequence chart."""

    @property
    def session_id(self) -> bytes:
        """8 bytes; all zero before there is a session."""

    @property
    def newest(self) -> Received:
        """The latest message of the peer."""

    def decode(self, payload_type: int, payload: bytes) -> tuple[Element, int]:
        """Return the message of a payload, and how many zero octets follow it: see `Session.decode`."""


# -- A session of basic charging by the control pilot (IEC 61851-1), with the interface of an ISO 15118-20 session


class BasicFallback(Session):
    """For a role: facts, timers and actions of `Session`, without a peer. Any received message is an error."""

    def decode(self, payload_type: int, payload: bytes) -> tuple[Element, int]:
        """Raise FrameError: there are no messages."""
        raise FrameError("basic charging carries no messages")

    def _on_message(self, message: Element, payload_type: int) -> None:
        self._on_broken(CodecError(f"{type(message).__name__} in basic charging"))

    def _on_discharge(self, payload: bytes) -> None:
        self._on_broken(CodecError("a discharge message in basic charging"))

    def _on_broken(self, error: CodecError) -> None:
        self._on_abort("unexpected_words")

    def _on_eof(self) -> None:
        """Ignore: there is no connection."""
