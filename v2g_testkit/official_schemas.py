"""Validation of OCPP frames by the official JSON schemas in the package `ocpp` (extra [testkit])."""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import jsonschema_rs

from v2g import typed_json
from v2g.ocpp.routes import Version
from v2g.typed_json import Fields

_FOLDERS: Final = {"1.6": "v16", "2.0.1": "v201", "2.1": "v21"}
_CALLS: Final = {2: "Request", 6: ""}  # CALL, and SEND of 2.1, whose schemas have the name of the message alone
_TOO_FINE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{4,}(Z|[+-]\d\d:\d\d)", re.IGNORECASE)
_FREE: Final = frozenset({"customData", "data", "value", "additionalInfo", "techInfo", "content"})
"""Fields in which a text that looks like a time need not be one."""
_MOST_OPEN: Final = 1000
"""Maximum number of stored requests of one side without a response."""


def _folder(version: Version) -> Traversable:
    """Return the folder of a version's schemas, a file for each message."""
    return files("ocpp") / _FOLDERS[version] / "schemas"


@cache
def known_messages(version: Version) -> frozenset[str]:
    """Return the names of a version's messages. A name from a frame is looked up here before it names a file."""
    names = (file.name for file in _folder(version).iterdir())
    return frozenset(name.removesuffix(".json") for name in names if name.endswith(".json"))


@cache
def _bounded_validator(message: str, version: Version) -> jsonschema_rs.Draft6Validator:
    return jsonschema_rs.Draft6Validator(_bounded(schema(message, version)), validate_formats=True)


def _bounded(part: object) -> Any:
    """Return a schema whose integers have 32 bits (part 2, Primitive Datatypes), which the official ones leave out;
    without sign, too, since ISO 15118 has such ids."""
    if isinstance(part, list):
        return [_bounded(each) for each in part]
    if not isinstance(part, dict):
        return part
    bounds = {"minimum": -(2**31), "maximum": 2**32 - 1} if part.get("type") == "integer" else {}
    return bounds | {name: _bounded(each) for name, each in part.items()}


def schema(message: str, version: Version) -> Fields:
    """Return the schema of a known message such as `BootNotificationRequest`."""
    found: dict[str, object] = json.loads((_folder(version) / f"{message}.json").read_text(encoding="utf-8-sig"))
    return found


def first_fault(validator: jsonschema_rs.Validator, document: object) -> str | None:
    """Return the first error of a document, with its place, or None. Raises RecursionError when it is nested too
    deeply."""
    for error in validator.iter_errors(document):
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
        return f"${path}: {error.message[:200]}"
    return None


class FrameJudge:
    """Validates the frames of one connection, both ways."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._open: dict[tuple[bool, str], str] = {}

    def judge(self, text: str, *, from_station: bool) -> str | None:
        """Return the fault of a frame, or None. The form of OCPP-J is not covered: see `connection.malformed`.

        A frame that cannot be judged, since it is nested too deeply or has text that is none, has a fault: nothing says
        that it is valid.
        """
        try:
            try:
                frame = json.loads(text, parse_float=typed_json.number)
            except ValueError:
                return None
            match frame:
                case [int() as kind, str() as number, str() as action, dict() as payload] if kind in _CALLS:
                    if kind == 2 and len(self._open) < _MOST_OPEN:
                        self._open[from_station, number] = action
                    return self._fault(action if self._version == "1.6" else f"{action}{_CALLS[kind]}", payload)
                case [3, str() as number, dict() as payload]:
                    action = self._open.pop((not from_station, number), "")
                    return self._fault(f"{action}Response", payload) if action else None
                case [4, str() as number, *_]:
                    self._open.pop((not from_station, number), None)
            return None
        except RecursionError:
            return "nested too deeply"
        except UnicodeEncodeError:
            return "has half of a surrogate pair, which UTF-8 cannot say"

    def _fault(self, message: str, payload: dict[str, object]) -> str | None:
        if message not in known_messages(self._version):
            return f"OCPP {self._version} has no {message}"
        fault = first_fault(_bounded_validator(message, self._version), payload)
        if fault is None and self._version != "1.6":
            fault = next(_too_fine(payload), None)
        return None if fault is None else f"{message}: {fault}"


def _too_fine(value: object, path: str = "$") -> Iterator[str]:
    """Yield the times with more decimal places than OCPP 2.x allows (part 2, Primitive Datatypes)."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name not in _FREE:
                yield from _too_fine(each, f"{path}.{name}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _too_fine(each, f"{path}[{number}]")
    elif isinstance(value, str) and _TOO_FINE.fullmatch(value):
        yield f"{path}: {value} has more than 3 decimal places of a second"
