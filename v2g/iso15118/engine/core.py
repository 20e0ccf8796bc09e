"""A session as its surroundings see it: what a runner drives, and what a trace reads beside."""

from typing import Any, Protocol

from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Action, Fact, Received


class Core(Protocol):
    """What is run: a `v2g.iso15118.engine.session.Session`, or something around one that behaves like it."""

    @property
    def closed(self) -> bool:
        """Whether Close is among the actions given out or waiting."""

    @property
    def reason(self) -> str:
        """Why it ended, or empty."""

    def start(self, now: float, utc_ms: int) -> None:
        """Begin."""

    def receive(self, data: bytes, now: float, utc_ms: int) -> None:
        """Take plaintext of the connection, split in any way."""

    def receive_eof(self, now: float, utc_ms: int) -> None:
        """The peer closed, or the link is gone."""

    def fact(self, fact: Fact, now: float, utc_ms: int) -> None:
        """Take an outcome or a change of the world."""

    def tick(self, now: float, utc_ms: int) -> None:
        """Expire all due timers."""

    def abort(self, reason: str, now: float, utc_ms: int) -> None:
        """End at once and safely."""

    def deadline(self) -> float | None:
        """Return when `tick` has to be called, or None."""

    def actions(self) -> list[Action]:
        """Return what to do, in order, and forget it."""


class Conversation(Core, Protocol):
    """A core whose messages can be written down."""

    @property
    def state(self) -> State:
        """The place in the sequence chart."""

    @property
    def session_id(self) -> bytes:
        """8 bytes; all zero before there is a session."""

    @property
    def newest(self) -> Received:
        """The newest message of the peer."""

    def decode(self, payload_type: int, payload: bytes) -> tuple[Any, int]:
        """Return the message of a payload, and how many zero octets follow it: see `Session.decode`."""
