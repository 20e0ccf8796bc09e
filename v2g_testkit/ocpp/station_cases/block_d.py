"""Functional block D, local authorization list: cases for charging stations."""

from collections.abc import Callable
from typing import Final, NamedTuple

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.station_cases.steps import accepts, asks_about, clear_cache, forget_tokens, prefer, reset
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

    id: str
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
    @D.case(each.id, each.title, required=each.required, also="D01.FR.02")
    async def script(t: StationTest) -> None:
        await _with_list(t)
        entries = [entry(t) for entry in each.entries]
        status = await _send(t, each.kind, each.version, entries or None)
        t.check(status == each.answer, each.requirement, f"answers {status}")
        await _has_version(t, each.version if status == "Accepted" else _VERSION, each.requirement)
        await _has_entries(t, each.left, each.requirement)


async def _has_entries(t: StationTest, number: int, requirement: str) -> None:
    left = (await t.get("LocalAuthListCtrlr", "Entries")).get("attributeValue")
    t.check(left in (None, str(number)), requirement, f"has {left} entries instead of {number}")


for _each in (
    _Update("TC_D_01_CS", "Full update",
            "The station replaces the list, and has the version that was sent.",
            "D01.FR.15", "Full", 9, (lambda t: _entry(t.token), _other), "Accepted", 2),
    _Update("TC_D_02_CS", "Differential update that adds",
            "The station adds the entry, and has the version that was sent.",
            "D01.FR.16", "Differential", 6, (_other,), "Accepted", 2),
    _Update("TC_D_03_CS", "Differential update that removes",
            "The station removes the entry, and has the version that was sent.",
            "D01.FR.17", "Differential", 6, (lambda t: {"idToken": t.token.payload},), "Accepted", 0),
    _Update("TC_D_04_CS", "Full update without entries",
            "The station empties its list, and has the version that was sent.",
            "D01.FR.04", "Full", 9, (), "Accepted", 0),
    _Update("TC_D_05_CS", "Differential update without entries",
            "The station keeps its entries, and takes the version.",
            "D01.FR.05", "Differential", 6, (), "Accepted", 1),
    _Update("TC_D_06_CS", "Differential update to a lower version",
            "The station refuses the update, and keeps its list.",
            "D01.FR.19", "Differential", 4, (_other,), "VersionMismatch", 1),
    _Update("V2G-D-01-CS", "Differential update to the same version",
            "The station refuses the update, and keeps its list.",
            "D01.FR.19", "Differential", _VERSION, (_other,), "VersionMismatch", 1),
):  # fmt: skip
    _case_of_update(_each)


@D.case("TC_D_07_CS", "The list stays over a reset")
async def persists(t: StationTest) -> None:
    """After a reset the list has the same version, and the same number of entries."""
    await _with_list(t)
    await given(reset(t))
    await _has_version(t, _VERSION, "D01.FR.10")
    await _has_entries(t, 1, "D01.FR.10")


@D.case("V2G-D-02-CS", "Updates of the list take effect", requirements="D01.FR.15 D01.FR.16 D01.FR.17", quick=True)
async def takes_effect(t: StationTest) -> None:
    """A token that the list accepts charges without a question; the back end is asked about one that an update has
    replaced, changed or removed."""
    token, other = t.token, t.declared.other_token
    with precondition():
        await prefer(t, "AuthCtrlr", "LocalPreAuthorize", "true")
        await prefer(t, "LocalAuthListCtrlr", "DisablePostAuthorize", "false")
        await forget_tokens(t)
        await _with_list(t)
        await t.plug()
    t.answer("Authorize", {"idTokenInfo": {"status": "Invalid"}})
    await _takes(t, "Full", 6, _entry(other))
    await t.present(token)
    await asks_about(t, token, "D01.FR.15")
    await _takes(t, "Differential", 7, _entry(other, "Blocked"), _entry(token))
    await t.present(other)
    await asks_about(t, other, "D01.FR.16")
    await t.present(token)
    await accepts(t, token, "D01.FR.16")
    await t.leave()
    await _takes(t, "Differential", 8, {"idToken": token.payload})
    await clear_cache(t)
    await t.present(token)
    await asks_about(t, token, "D01.FR.17")


async def _takes(t: StationTest, kind: str, version: int, *entries: Payload) -> None:
    await given(_is_taken(t, kind, version, list(entries)))
    t.forget()


async def _is_taken(t: StationTest, kind: str, version: int, entries: list[Payload]) -> None:
    t.equal(await _send(t, kind, version, entries), "Accepted", "D01.FR.02", "answers {}")


@D.case("TC_D_08_CS", "Version of the list")
async def version(t: StationTest) -> None:
    """The station answers with the version that was sent last."""
    await _with_list(t)
    await _has_version(t, _VERSION, "D02.FR.01")


@D.case("TC_D_10_CS", "A list that is disabled")
async def disabled(t: StationTest) -> None:
    """The station answers with version 0, and asks the back end about a token of the list."""
    await _with_list(t)
    await given(t.demand("LocalAuthListCtrlr", "Enabled", "false"))
    await _has_version(t, 0, "D02.FR.03")
    await clear_cache(t)
    t.answer("Authorize", {"idTokenInfo": {"status": "Invalid"}})
    await t.present()
    await asks_about(t, t.token, "D01.FR.13")
