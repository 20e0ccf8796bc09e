"""What several tests of secc mutants use."""

from typing import Any

from secc.session.d20.session import SeccSession


class AnySession(SeccSession):
    """Does not look at the SessionID."""

    def _on_request(self, request: Any, *, same_session: bool) -> None:
        super()._on_request(request, same_session=True)


class NoSequenceError(SeccSession):
    """Has another word for what is out of order."""

    def _sequence_code(self, _request: Any) -> str:
        return "FAILED"
