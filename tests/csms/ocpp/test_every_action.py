"""Every action of the standard has its place, and what a schema allows is answered, never with an inner error."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from csms.ocpp.server import HANDLES
from csms.requests.rules import COMMANDS
from tests.csms.backend import Backend
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.ocpp.official import VERSIONS, maximal, minimal, schema, validator
from v2g.ocpp.routes import UNCONFIRMED, Version, known
from v2g.ocpp.rpc import MAX_FRAME


def test_every_action_is_either_answered_or_asked() -> None:
    assert known("2.1") == HANDLES | set(COMMANDS) & known("2.1")
    assert set(COMMANDS) <= known("2.1") | known("1.6")
    assert {"DataTransfer"} == HANDLES & set(COMMANDS)


def payloads(action: str, version: Version) -> Iterator[Payload]:
    """Yield the shortest and the longest payload that the schema allows, when a frame holds it."""
    root = schema(f"{action}Request", version)
    for payload in (minimal(root, root), maximal(root, root)):
        if len(json.dumps(payload)) < MAX_FRAME - 100:
            yield payload


def huge(value: Any) -> Iterator[Any]:
    """Yield copies of a payload, each with one integer that is larger than any database's."""
    if isinstance(value, dict):
        yield from ({**value, key: each} for key, inner in value.items() for each in huge(inner))
    elif isinstance(value, list):
        yield from ([each, *value[1:]] for each in huge(value[0]))
    elif isinstance(value, int) and not isinstance(value, bool):
        yield 10**30


async def inner_errors(station: ScriptedStation, version: Version, changed: Callable[[Payload], Iterator[Any]]) -> Any:
    """Send every request that stations may send, as changed; return those that got an InternalError."""
    found = []
    for action in sorted((HANDLES & known(version)) - UNCONFIRMED - {"BootNotification"}):
        for payload in itertools.chain.from_iterable(map(changed, payloads(action, version))):
            if not validator(f"{action}Request", version).is_valid(payload):
                continue  # the schema has a bound here
            try:
                await station.call(action, payload)
            except Refused as refusal:
                found += [(action, payload)] if refusal.code == "InternalError" else []
    return found


@pytest.mark.parametrize("version", VERSIONS)
async def test_whatever_the_schema_allows_is_answered(csms: Backend, version: Version) -> None:
    station = await csms.booted(version=version)
    assert await inner_errors(station, version, lambda payload: iter([payload])) == []


@pytest.mark.long
async def test_numbers_that_nobody_can_keep_are_refused_in_the_protocols_words(csms: Backend) -> None:
    station = await csms.booted(version="2.1")
    assert await inner_errors(station, "2.1", huge) == []
