"""What several tests of station mutants use."""

import re
import ssl
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from tests.testkit.ocpp.rig import Change, Frame, cases_of, in_virtual_time, station_under_test
from v2g.ocpp.routes import Version
from v2g_testkit.cases.case import Verdict
from v2g_testkit.ocpp.case import OcppCase, Payload
from v2g_testkit.ocpp.station_cases.catalogue import STATION_CASES
from v2g_testkit.ocpp.station_tester import StationTest

Make = Callable[[], Change]
"""Makes a change, which may keep what it has seen, for one run."""


class Mutant(NamedTuple):
    """A fault: how it changes frames, and the numbers of the cases that fail, by block."""

    name: str
    make: Make
    fails: Mapping[str, tuple[int, ...]]
    version: Version = "2.0.1"
    security_profile: int = 1
    tls: Callable[[ssl.SSLContext], None] = lambda _: None
    """How it changes the station's TLS."""
    station: Mapping[str, Any] = {}
    """What else its station has, see `station_under_test`."""


def unchanged() -> Change:
    """Change no frame."""
    return lambda _, frame: [frame]


def trusts(context: ssl.SSLContext) -> None:
    """Trust every back end."""
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE


def aged(context: ssl.SSLContext) -> None:
    """Speak TLS 1.1, too."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")


def poor(context: ssl.SSLContext) -> None:
    """Have one cipher suite of TLS 1.2."""
    context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")


def tells(action: str, edit: Callable[[Payload], Payload | None]) -> Make:
    """Change requests of the station; None drops one."""

    def change(way: str, frame: Frame) -> list[Frame]:
        if way != "from" or frame[0] != 2 or frame[2] != action:
            return [frame]
        payload = edit(frame[3])
        return [] if payload is None else [[*frame[:3], payload]]

    return lambda: change


def hears(action: str, edit: Callable[[Payload], Payload]) -> Make:
    """Change requests to the station."""

    def change(way: str, frame: Frame) -> list[Frame]:
        asked = way == "to" and frame[0] == 2 and frame[2] == action
        return [[*frame[:3], edit(frame[3])] if asked else frame]

    return lambda: change


def both(first: Make, second: Make) -> Make:
    """Change frames in two ways, one after the other."""

    def make() -> Change:
        one, other = first(), second()
        return lambda way, frame: [out for each in one(way, frame) for out in other(way, each)]

    return make


def _by_id(action: str, asks: str, answers: str, edit: Callable[[Payload, Payload], Payload]) -> Make:
    def make() -> Change:
        asked: dict[str, Payload] = {}

        def change(way: str, frame: Frame) -> list[Frame]:
            if way == asks and frame[0] == 2:
                asked.pop(frame[1], None)  # identifiers begin anew with each connection
                if frame[2] == action:
                    asked[frame[1]] = frame[3]
            if way == answers and frame[0] == 3 and frame[1] in asked:
                return [[*frame[:2], edit(asked.pop(frame[1]), frame[2])]]
            return [frame]

        return change

    return make


def answers(action: str, edit: Callable[[Payload, Payload], Payload]) -> Make:
    """Change answers of the station; `edit` gets the request and the answer."""
    return _by_id(action, "to", "from", edit)


def believes(action: str, edit: Callable[[Payload, Payload], Payload]) -> Make:
    """Change answers to the station."""
    return _by_id(action, "from", "to", edit)


def ignores(action: str, answer: Payload) -> Make:
    """Let the station answer a request that it does not carry out."""

    def make() -> Change:
        asked: set[str] = set()

        def change(way: str, frame: Frame) -> list[Frame]:
            if way == "to" and frame[0] == 2:
                asked.discard(frame[1])
                if frame[2] == action:
                    asked.add(frame[1])
                    return [[2, frame[1], "GetLocalListVersion", {}]]
            return [[3, frame[1], answer] if way == "from" and frame[0] == 3 and frame[1] in asked else frame]

        return change

    return make


def of_event(**edits: Any) -> Make:
    """Change events: `reason=("Local", "Other")` replaces a value wherever it stands; None removes a field."""

    def edit(payload: Payload) -> Payload:
        for name, what in edits.items():
            place = payload if name in payload else payload["transactionInfo"]
            if name in place and what is None:
                del place[name]
            elif name in place and place[name] == what[0]:
                place[name] = what[1]
        return payload

    return tells("TransactionEvent", edit)


def sets(variable: str, value: str) -> Make:
    """Let a variable take this value, whatever it is set to."""

    def edit(payload: Payload) -> Payload:
        for each in payload["setVariableData"]:
            if each["variable"]["name"] == variable:
                each["attributeValue"] = value
        return payload

    return hears("SetVariables", edit)


def of_results(field: str, edit: Callable[[Payload], Payload]) -> Callable[[Payload, Payload], Payload]:
    """Change each result in an answer."""
    return lambda _, answer: answer | {field: [edit(each) for each in answer[field]]}


def replaced(name: str, before: Any, after: Any) -> Callable[[Payload], Payload]:
    """Replace a value at the top of a payload."""
    return lambda payload: payload | {name: after} if payload.get(name) == before else payload


def status(before: str, after: str) -> Callable[[Payload, Payload], Payload]:
    """Replace a status in answers."""
    return lambda _, answer: answer | {"status": after} if answer["status"] == before else answer


def dropped(_: Payload) -> None:
    """Drop a request."""


def without(name: str) -> Callable[[Payload], Payload]:
    """Remove a field."""
    return lambda payload: {key: value for key, value in payload.items() if key != name}


def of_password(payload: Payload) -> Payload:
    for each in payload["setVariableData"]:
        if each["variable"]["name"] == "BasicAuthPassword":
            each["attributeValue"] = "another-password-of-its-own"
    return payload


def fails_its_cases_only(
    mutant: Mutant, cases: Collection[OcppCase[StationTest]] = STATION_CASES, *, every: int = 1
) -> None:
    """Run a mutant's cases, and every nth of the others in their blocks; check that its own fail, and no others."""
    found: dict[str, tuple[int, ...]] = {}

    async def run(block: str) -> None:
        level = mutant.security_profile
        there = [each for each in cases_of(block, level) if each in cases]
        own = {n for n, each in enumerate(there) if _number(each.id) in mutant.fails[block]}
        chosen = [
            each
            for n, each in enumerate(there)
            if n % every == 0 or n in own or n + 1 in own  # the one before leaves what an own one sets
        ]
        async with station_under_test(
            mutant.version, change=mutant.make(), security_profile=level, tls=mutant.tls, **mutant.station
        ) as tester:
            results = [await tester.run(case) for case in chosen]
            found[block] = tuple(_number(each.case) for each in results if each.verdict is Verdict.FAIL)

    for block in mutant.fails:
        in_virtual_time(run(block))
    assert all(found.values()), "nothing fails"
    assert {block: set(numbers) for block, numbers in found.items()} == {
        block: set(numbers) for block, numbers in mutant.fails.items()
    }


def _number(case_id: str) -> int:
    """Return the number of a certification case; those of our own begin at 1001."""
    own = case_id.startswith("V2G-")
    return 1000 + int(case_id.split("-")[2]) if own else int(case_id.split("_")[2])


def name_of(mutant: Mutant) -> str:
    """Return its name without what shells do not take."""
    return re.sub(r"\W+", "-", mutant.name)
