"""One connection of a role with several editions: a session of the first edition until the handshake has chosen one."""

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Generic, TypeVar

from v2g.errors import CodecError
from v2g.exi.declare import Element
from v2g.iso15118.engine.core import Conversation
from v2g.iso15118.engine.sequence import State
from v2g.iso15118.engine.session import Action, Fact, Received
from v2g.iso15118.engine.v2gtp import Frame, Framer, PayloadType, frame

SessionT = TypeVar("SessionT", bound=Conversation)


class Negotiated(ABC, Generic[SessionT]):
    """See `v2g.iso15118.engine.core.Conversation`.

    `first` is a session of the first edition; `chooses` is whether there are others. The first frame of the handshake
    decides; until then `first` deals with what comes.
    """

    def __init__(self, first: SessionT, *, chooses: bool) -> None:
        self.session = first
        """The current session."""
        self._handshake = Framer(skips=True) if chooses else None
        self._incomplete = b""
        self._facts: list[Fact] = []

    @abstractmethod
    def _chosen(self, first: Frame, now: float) -> SessionT | None:
        """Return a session of the edition that the handshake's first frame chooses; None: the first one continues.

        Raises CodecError, with which the first one deals, too.
        """

    def _begin(self, session: SessionT, now: float, utc_ms: int) -> None:
        """Start the chosen session."""
        session.start(now, utc_ms)

    @property
    def closed(self) -> bool:
        return self.session.closed

    @property
    def reason(self) -> str:
        return self.session.reason

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def session_id(self) -> bytes:
        return self.session.session_id

    @property
    def newest(self) -> Received:
        return self.session.newest

    def decode(self, payload_type: int, payload: bytes) -> tuple[Element, int]:
        return self.session.decode(payload_type, payload)

    def start(self, now: float, utc_ms: int) -> None:
        self.session.start(now, utc_ms)

    def receive(self, data: bytes, now: float, utc_ms: int) -> None:
        """See Core."""
        if self._handshake is not None:
            data = self._negotiate(self._handshake, data, now, utc_ms)
        self.session.receive(data, now, utc_ms)

    def receive_eof(self, now: float, utc_ms: int) -> None:
        self.session.receive_eof(now, utc_ms)

    def fact(self, fact: Fact, now: float, utc_ms: int) -> None:
        if self._handshake is not None:
            self._facts.append(fact)
        self.session.fact(fact, now, utc_ms)

    def tick(self, now: float, utc_ms: int) -> None:
        self.session.tick(now, utc_ms)

    def abort(self, reason: str, now: float, utc_ms: int) -> None:
        self.session.abort(reason, now, utc_ms)

    def deadline(self) -> float | None:
        return self.session.deadline()

    def actions(self) -> list[Action]:
        return self.session.actions()

    def _negotiate(self, framer: Framer, data: bytes, now: float, utc_ms: int) -> bytes:
        """Return what the session receives: one that the data choose gets the handshake's frame from its beginning."""
        received = self._incomplete + data
        chosen: SessionT | None = None
        with suppress(CodecError):  # with which the first session deals, too
            frames = (each for each in framer.feed(data) if each.payload_type == PayloadType.SAP and each.payload)
            first = next(frames, None)
            self._incomplete = received[len(received) - framer.pending :]
            if first is None:
                return data
            received = frame(first.payload_type, first.payload) + self._incomplete
            chosen = self._chosen(first, now)
        self._handshake = None
        if chosen is None:
            return data
        self.session = chosen
        self._begin(chosen, now, utc_ms)
        for fact in self._facts:
            chosen.fact(fact, now, utc_ms)
        return received
