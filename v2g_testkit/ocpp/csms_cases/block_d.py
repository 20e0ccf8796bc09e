"""Functional block D, local authorization lists: cases for back ends."""

from typing import Any, Final

from v2g_testkit.ocpp.case import Block, Payload
from v2g_testkit.ocpp.csms_tester import CsmsTest

D: Final[Block[CsmsTest]] = Block(profiles=("Local Authorization List Management",), needs=("local list",), booted=True)

_VERSION: Final = 7
"""Version of the list that the station has."""


async def _sent(t: CsmsTest, kind: str, entries: list[Payload], **more: Any) -> list[Payload]:
    """Have the back end send a list of a kind; return its entries."""
    listed: Payload = {"localAuthorizationList": entries} if entries else {}
    sent = await t.asked(
        "SendLocalList", "D01.FR.01", free=tuple(listed), versionNumber=_VERSION + 1, updateType=kind, **listed, **more
    )
    t.check(sent["versionNumber"] > 0, "D01.FR.18", f"the list has the version {sent['versionNumber']}")
    found: list[Payload] = sent.get("localAuthorizationList", [])
    t.check(bool(found) == bool(entries), "D01.FR.01", f"sends a list of {len(found)} entries")
    names = [(each["idToken"]["idToken"].lower(), each["idToken"]["type"]) for each in found]
    t.check(len(set(names)) == len(names), "D01.FR.06", "sends a token twice")
    valid = {each.id.lower() for each in (t.declared.token, t.declared.group_token)}
    invalid = {each.id.lower() for each in (t.declared.blocked_token, t.declared.expired_token)}
    for (name, _), info in zip(names, (each.get("idTokenInfo", {}) for each in found), strict=True):
        status, end = info.get("status", ""), info.get("cacheExpiryDateTime")
        accepted = status == "Accepted" and (end is None or t.until(end) > 0)
        wrong = (name in valid and status not in ("", "Accepted")) or (name in invalid and accepted)
        t.check(not wrong, "D01", f"lists a token that is {'' if name in valid else 'not '}valid as {status}")
    return found


def _entry(t: CsmsTest) -> Payload:
    return {"idToken": t.declared.token.payload, "idTokenInfo": {"status": "Accepted"}}


@D.case("TC_D_01_CSMS", "Full list", also="D01.FR.06 D01.FR.18", quick=True)
async def full_list(t: CsmsTest) -> None:
    """The back end sends a full list with entries and a version above 0; each entry has its status."""
    found = await _sent(t, "Full", [_entry(t)])
    t.check(all("idTokenInfo" in each for each in found), "D01.FR.01", "sends an entry without idTokenInfo")


@D.case("TC_D_02_CSMS", "Update by differences", also="D01.FR.06 D01.FR.18", needs=("local list by differences",))
async def differential_update(t: CsmsTest) -> None:
    """The back end sends the differences with a version above that of the station."""
    t.answer("GetLocalListVersion", {"versionNumber": _VERSION})
    found = await _sent(t, "Differential", [_entry(t)])
    t.check(any("idTokenInfo" in each for each in found), "D01.FR.01", "updates no entry")


@D.case("TC_D_03_CSMS", "Removal by differences", also="D01.FR.01 D01.FR.18", needs=("local list by differences",))
async def differential_removal(t: CsmsTest) -> None:
    """The back end removes an entry by leaving its idTokenInfo out."""
    t.answer("GetLocalListVersion", {"versionNumber": _VERSION})
    found = await _sent(t, "Differential", [{"idToken": t.declared.token.payload}])
    t.check(any("idTokenInfo" not in each for each in found), "D01.FR.17", "removes no entry")


@D.case("TC_D_04_CSMS", "Full list without entries", also="D01.FR.01 D01.FR.18")
async def empty_list(t: CsmsTest) -> None:
    """The back end empties the list by a full one without entries."""
    await _sent(t, "Full", [])


def _version(id: str, title: str, number: int) -> None:  # noqa: A002 - as in every case
    @D.case(id, title, also="D02", needs=("local list version",))
    async def script(t: CsmsTest) -> None:
        """The back end asks for the version of the list, and continues after the answer."""
        t.answer("GetLocalListVersion", {"versionNumber": number})
        await t.asked("GetLocalListVersion", "D02")
        await t.call("Heartbeat")


_version("TC_D_08_CSMS", "Version of the list", _VERSION)
_version("TC_D_09_CSMS", "Version where there is no list", 0)
