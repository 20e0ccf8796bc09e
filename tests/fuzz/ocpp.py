"""What must hold for whatever a CSMS may send a station, and for whatever a station may send a test tool.

Requests are made from the official schemas, by choices that the octets decide: valid by their schema, most of them,
with values at the edges of what it allows.
"""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from csms.script.declared import StationScript, read_script
from csms.script.station import ScriptedLine
from tests.ocpp.official import actions, maximal, message_names, schema
from tests.station.bench import SOCKET, START_MS, Bench
from v2g.errors import V2GError
from v2g.ocpp.routes import UNCONFIRMED, Version, request_type
from v2g.ocpp.versions import read_payload
from v2g_cli.conform.frames_page import frames_page
from v2g_testkit.ocpp.connection import Frame, malformed
from v2g_testkit.official_schemas import FrameJudge

VERSIONS: Final[tuple[Version, ...]] = ("2.0.1", "2.1")
TIMES: Final = ("2026-05-28T20:31:00Z", "2026-05-28T20:30:00.250+02:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z")
INTEGERS: Final = (0, 1, 2, 3, 5, 9, 60, 900, 86_400, -1, 2**31 - 1, -(2**31), 2**32, 2**63)
NUMBERS: Final = (0, 1, -1, 0.5, 16.0, 11_000.0, -11_000.0, 1e-300, 1e15, -1e15, 1e308, -1e308)
TEXTS: Final = (
    "",
    "x",
    "0",
    "1",
    "-1",
    "1e308",
    "NaN",
    "true",
    "a,b",
    "\u202e",
    "é" * 20,
    "DE*V2G*E1",
    "http://[",
    "P1D",
)
_STEPS: Final = 4


@cache
def variables() -> tuple[tuple[str, str], ...]:
    """Return component and variable of everything that a station has."""
    return tuple({(each.component, each.name) for each in Bench("2.1").station.kernel.model.variables("2.1")})


@cache
def requests(version: Version) -> tuple[str, ...]:
    """Return the names of all requests of a version."""
    names = [name for name in message_names(version) if name.endswith("Request") or name in UNCONFIRMED]
    return tuple(sorted(names))


def value(part: dict[str, Any], root: dict[str, Any], chance: random.Random, name: str = "") -> Any:
    """Return a value that a schema allows, or nearly."""
    if "$ref" in part:
        part = root["definitions"][part["$ref"].rsplit("/", 1)[1]]
    if "enum" in part:
        return chance.choice(part["enum"])
    match part.get("type"):
        case "object":
            return _object(part, root, chance)
        case "array":
            count = chance.choice((part.get("minItems", 0), 1, 2, min(60, part.get("maxItems", 60))))
            return [value(part["items"], root, chance, name) for _ in range(max(1, count))]
        case "string":
            texts = TIMES[: chance.choice((2, len(TIMES)))] if part.get("format") == "date-time" else TEXTS
            text = chance.choice(texts)
            return text[: part.get("maxLength", 20_000)]
        case "integer":
            return chance.choice(INTEGERS[: chance.choice((4, 9, len(INTEGERS)))])
        case "number":
            return chance.choice(NUMBERS[: chance.choice((5, 7, len(NUMBERS)))])
        case "boolean":
            return chance.random() < 0.5
    return chance.choice(({"any": [1, None]}, "text", 3, None, [[]]))


def _object(part: dict[str, Any], root: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    required, keen = part.get("required", ()), chance.choice((0.1, 0.5, 0.9))
    made = {
        name: value(inner, root, chance, name)
        for name, inner in part.get("properties", {}).items()
        if name in required or (name != "customData" and chance.random() < keen)
    }
    if {"component", "variable"} <= made.keys() and chance.random() < 0.8:  # else hardly any would be known
        component, variable = chance.choice(variables())
        made |= {"component": {"name": component}, "variable": {"name": variable}}
    return made


def request(name: str, version: Version, chance: random.Random) -> tuple[str, Any]:
    """Return action and payload of a request."""
    root = schema(name, version)
    return name.removesuffix("Request"), value(root, root, chance)


def is_handled(action: str, payload: object, version: Version) -> bool:
    """Return whether a back end's handler sees a request: it is valid, and no boot, which has its own ways to pend."""
    if not isinstance(payload, dict) or action == "BootNotification":
        return False
    try:
        read_payload(json.dumps(payload).encode(), request_type(action), version)
    except V2GError:
        return False
    return True


def hostile_csms(data: bytes) -> None:
    """A CSMS sends requests while a vehicle charges: each has an answer by its schema, and the station goes on."""
    chance = random.Random(data)
    version = chance.choice(VERSIONS)
    found = Bench(version, evses=(SOCKET,), able=frozenset({"reset", "remote_start"}))
    found.plug()
    found.present()
    found.flow(wh=10)
    for number in range(_STEPS):
        own = sorted(found.station.table.keys() & actions(version))
        name = f"{chance.choice(own)}Request" if chance.random() < 0.95 else chance.choice(requests(version))
        action, payload = request(name, version, chance)
        kind = 6 if action in UNCONFIRMED else 2
        if found.connected:
            found.run(found.station.receive(json.dumps([kind, f"h{number}", action, payload]), found.moment))
        found.wait(chance.choice((0, 1, 70)))
    found.wait(1)


def hostile_csms_seeds() -> list[bytes]:
    """Return the beginnings of choices."""
    return [bytes((number, number)) for number in range(20)]


@cache
def _script() -> StationScript:
    return read_script("port: 0\nstrict: true\nexpect: [{action: Heartbeat}]", "script.yaml")


def tools(data: bytes) -> None:
    """Any frame of a station: script, judges and report take it, and agree that garbage is no frame."""
    text = data[1:].decode("utf-8", "replace")
    version = VERSIONS[data[0] % 2 if data else 0]
    line = ScriptedLine(_script(), "CS-1", lambda n: bytes(n))
    line.connected(version, 0.0, START_MS)
    line.receive(text, 1.0, START_MS)
    line.tick(2.0, START_MS)
    assert line.actions()
    fault = malformed(text, version) or FrameJudge(version).judge(text, from_station=True)
    if fault == "not JSON" or fault == "not a message of OCPP-J":
        assert line.problems
    assert "<html" in frames_page("t", [Frame(0.0, "received", text, fault or "", "CS-1")])


def tools_seeds() -> list[bytes]:
    """Return each request at its longest, an answer, an error, and what is nested deeply."""
    found = [
        b"\0" + b"[" * 5000,
        b'\1[3,"1",{}]',
        b'\0[4,"1","InternalError","",{}]',
        b'\0[2,"1","X",' + b'{"a":' * 600,
    ]
    for number, version in enumerate(VERSIONS):
        for name in requests(version):
            root = schema(name, version)
            frame = [2, "1", name.removesuffix("Request"), maximal(root, root)]
            found.append(bytes((number,)) + json.dumps(frame).encode())
    return found


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]]] = {
    "hostile-csms": (hostile_csms, hostile_csms_seeds),
    "test-tools": (tools, tools_seeds),
}
