"""A session of basic charging by the control pilot (IEC 61851-1), with the interface of an ISO 15118-20 session."""

from v2g.errors import CodecError, FrameError
from v2g.exi.declare import Element
from v2g.iso15118.engine.session import Session


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
