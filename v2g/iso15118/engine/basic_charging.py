"""A session without words: charging by the control pilot alone (IEC 61851-1), driven like one of ISO 15118-20."""

from typing import Any

from v2g.errors import CodecError, FrameError
from v2g.iso15118.engine.session import Session


class BasicChargingSession(Session):
    """For a role: facts, timers and actions of `Session`, and no peer that speaks. Whatever arrives breaks it."""

    def decode(self, payload_type: int, payload: bytes) -> tuple[Any, int]:
        """Raise FrameError: nothing is said."""
        raise FrameError("basic charging carries no messages")

    def _on_message(self, message: Any, payload_type: int) -> None:
        self._on_broken(CodecError(f"{type(message).__name__} where nothing is said"))

    def _on_discharge(self, payload: bytes) -> None:
        self._on_broken(CodecError("a discharge message where nothing is said"))

    def _on_broken(self, error: CodecError) -> None:
        self._on_abort("unexpected_words")

    def _on_eof(self) -> None:
        """There was no connection."""
