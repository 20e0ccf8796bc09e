"""Functional block D, local authorization list: cases for charging stations."""

from collections.abc import Callable
from typing import Final, NamedTuple

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.station_cases.steps import prefer, reset
from v2g_testkit.ocpp.station_tester import StationTest

D: Final[Block[StationTest]] = Block(
    profiles=("Local Authorization List Management",), needs=("LocalAuthListCtrlr.Available",)
)

_VERSION: Final = 5


def _entry(token: Token, status: str = "Accepted") -> Payload:
    return {"idToken": token.payload, "idTokenInfo": {"status": status}}


async def _send(t: StationTest, kind: str, version: int, entries: list[Payload] | None = None) -> str:
    more = {} if entries is None else {"localAuthorizationList": entries}
    answer = await t.ask("SendLocalList", updateType=kind, versionNumber=version, **more)
    return str(answer["status"])


async def _has_version(t: StationTest, version: int, requirement: str) -> None:
    found = (await t.ask("GetLocalListVersion"))["versionNumber"]
    t.check(found == version, requirement, f"the version of the list is {found} instead of {version}")


async def _with_list(t: StationTest) -> None:
    """Let the station have a list with one token."""
    with precondition():
        await prefer(t, "LocalAuthListCtrlr", "Enabled", "true")
        t.undo(lambda: _send(t, "Full", 1))
        t.equal(await _send(t, "Full", _VERSION, [_entry(t.token)]), "Accepted", "D01.FR.02", "answers {}")


class _Update(NamedTuple):
    """An update of a list with the token in version 5."""

    number: int
    title: str
    required: str
    requirement: str
    kind: str
    version: int
    entries: tuple[Callable[[StationTest], Payload], ...]
    answer: str
    left: int
    """Entries afterwards."""


def _other(t: StationTest) -> Payload:
    return _entry(t.declared.other_token)


def _case_of_update(each: _Update) -> None:
    @D.case(f"TC_D_{each.number:02}_CS", each.title, required=each.required, also="D01.FR.02")
    async def script(t: StationTest) -> None:
        await _with_list(t)
        entries = [entry(t) for entry in each.entries]
        status = await _send(t, each.kind, each.version, entries or None)
        t.check(status == each.answer, each.requirement, f"answers {status}")
        await _has_version(t, each.version if status == "Accepted" else _VERSION, each.requirement)
        found = await t.get("LocalAuthListCtrlr", "Entries")
        left = found.get("attributeValue")
        t.check(left in (None, str(each.left)), each.requirement, f"has {left} entries instead of {each.left}")


for _each in (
    _Update(1, "Full update", "The station replaces the list, and has the version that was sent.",
            "D01.FR.15", "Full", 9, (lambda t: _entry(t.token), _other), "Accepted", 2),
    _Update(2, "Differential update that adds", "The station adds the entry, and has the version that was sent.",
            "D01.FR.16", "Differential", 6, (_other,), "Accepted", 2),
    _Update(3, "Differential update that removes", "The station removes the entry, and has the version that was sent.",
            "D01.FR.17", "Differential", 6, (lambda t: {"idToken": t.token.payload},), "Accepted", 0),
    _Update(4, "Full update without entries", "The station empties its list, and has the version that was sent.",
            "D01.FR.04", "Full", 9, (), "Accepted", 0),
    _Update(5, "Differential update without entries", "The station keeps its entries, and takes the version.",
            "D01.FR.05", "Differential", 6, (), "Accepted", 1),
    _Update(6, "Differential update to a lower version", "The station refuses the update, and keeps its list.",
            "D01.FR.19", "Differential", 4, (_other,), "VersionMismatch", 1),
):  # fmt: skip
    _case_of_update(_each)


@D.case("TC_D_07_CS", "The list stays over a reset")
async def persists(t: StationTest) -> None:
    """After a reset the list has the same version."""
    await _with_list(t)
    await given(reset(t))
    await _has_version(t, _VERSION, "D01.FR.10")


@D.case("TC_D_08_CS", "Version of the list")
async def version(t: StationTest) -> None:
    """The station answers with the version that was sent last."""
    await _with_list(t)
    await _has_version(t, _VERSION, "D02.FR.01")


@D.case("TC_D_10_CS", "Version of a list that is disabled")
async def disabled(t: StationTest) -> None:
    """The station answers with version 0."""
    await given(t.demand("LocalAuthListCtrlr", "Enabled", "false"))
    await _has_version(t, 0, "D02.FR.03")
