"""A session that does what a test says: what roles do by themselves is open to everybody."""

from typing import Any

from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.session import Session20
from v2g.iso15118.engine.session import Command
from v2g.observe import Scalar


class OpenSession(Session20):
    """Its subclasses write down what they hear."""

    def __init__(self) -> None:
        super().__init__(entropy=bytes)

    def header(self) -> MessageHeader:
        return self._header()

    def send(self, message: Any, payload_type: int | None = None) -> None:
        self._send(message, payload_type)

    def send_discharge(self, payload: bytes) -> None:
        self._send_discharge(payload)

    def command(self, *commands: Command) -> None:
        self._command(*commands)

    def note(self, stage: str, name: str, **data: Scalar) -> None:
        self._observe(stage, name, **data)

    def arm(self, name: str, seconds: float) -> None:
        self._arm(name, seconds)

    def close(self, reason: str) -> None:
        self._close(reason)
