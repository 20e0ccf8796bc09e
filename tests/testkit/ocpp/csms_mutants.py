"""What several tests of csms mutants use."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Payload = dict[str, Any]
Edit = Callable[[Payload], Any]
CALL, CALLRESULT, CALLERROR = 2, 3, 4


class Mutant(NamedTuple):
    """A fault in the requests (CALL) or answers (CALLRESULT) of actions, and the cases that must fail."""

    name: str
    kind: int
    action: str
    edit: Edit | str | None
    """Changes a payload; a text is the code of a CALLERROR instead of the answer; None: nothing is sent."""
    fails: str
    """`B_01` is TC_B_01_CSMS; *: every case in which such frames occur."""

    def change(self, action: str, frame: list[Any]) -> list[Any] | None:
        """Change a frame of the back end."""
        if frame[0] != self.kind or action not in self.action.split():
            return frame
        if self.edit is None:
            return None
        if isinstance(self.edit, str):
            return [CALLERROR, frame[1], self.edit, "", {}]
        self.edit(frame[-1])
        return frame


def put(path: str, value: Any) -> Edit:
    """Set a value where there is one; numbers in the path are indices."""

    def edit(payload: Any) -> None:
        *way, last = path.split(".")
        for each in way:
            payload = payload.get(each) if isinstance(payload, dict) else payload[int(each)]
            if payload is None:
                return
        if isinstance(payload, dict) and last in payload:
            payload[last] = value

    return edit


def add(**values: Any) -> Edit:
    """Add fields."""
    return lambda payload: payload.update(values)


def drop(name: str) -> Edit:
    """Leave a field out."""
    return lambda payload: payload.pop(name, None)


def token_status(status: str, when: str = "") -> Edit:
    """Answer tokens with a status, all or those that would have had one."""

    def edit(payload: Payload) -> None:
        info = payload.get("idTokenInfo")
        if info is not None and when in ("", info["status"]):
            info["status"] = status

    return edit


def each(field: str, edit: Edit) -> Edit:
    """Change every element of a list."""

    def change(payload: Payload) -> None:
        for one in payload[field]:
            edit(one)

    return change


def swap(field: str, values: Mapping[Any, Any]) -> Edit:
    """Replace values of a field."""

    def edit(payload: Payload) -> None:
        if payload.get(field) in values:
            payload[field] = values[payload[field]]

    return edit


LONG_AGO = "2020-01-01T00:00:00Z"
