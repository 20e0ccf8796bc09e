"""Roots of certificates at a station: installed for a case, listed, and deleted after it (M03 to M05)."""

from typing import Final

from v2g.errors import KeyAccessError
from v2g_testkit.ocpp.case import NotApplicable, Payload
from v2g_testkit.ocpp.certificates import Authority, Root
from v2g_testkit.ocpp.station_tester import StationTest

CSMS: Final = "CSMSRootCertificate"
MANUFACTURER: Final = "ManufacturerRootCertificate"
V2G: Final = "V2GRootCertificate"
MO: Final = "MORootCertificate"
_CHECKED: Final = "SecurityCtrlr.AdditionalRootCertificateCheck"


async def install(t: StationTest, use: str) -> Authority:
    """Install the root of a new authority, which is deleted after the case. Raises Failed, NotApplicable."""
    t.needs(use != CSMS or not t.has(_CHECKED), "it only takes CSMS roots that its present one has signed")
    made = Authority(use, t.now())
    await _put(t, made, use)
    t.undo(lambda: _delete(t, made))
    return made


async def _delete(t: StationTest, root: Root) -> None:
    for each in await installed(t):
        if root.is_named_by(each["certificateHashData"]):
            await t.ask("DeleteCertificate", certificateHashData=each["certificateHashData"])


async def trust_contracts(t: StationTest, *, trusted: bool) -> None:
    """Let the station have the root of the vehicle's contract, or not, until the end of the case. For preconditions.

    Raises Failed, NotApplicable.
    """
    if t.declared.contract_root is None:
        raise NotApplicable("no root of the vehicle's contract is declared (`contract_root`)")
    try:
        root = Root.read(t.declared.contract_root)
    except KeyAccessError as error:
        raise NotApplicable(str(error)) from None
    found = [each for each in await installed(t) if root.is_named_by(each["certificateHashData"])]
    if trusted and not found:
        t.undo(lambda: _delete(t, root))
        await _put(t, root, MO)
    for each in [] if trusted else found:
        answer = await t.ask("DeleteCertificate", certificateHashData=each["certificateHashData"])
        t.needs(answer["status"] == "Accepted", "it does not delete the root of the vehicle's contract")
        t.undo(lambda use=each["certificateType"]: _put(t, root, use))  # type: ignore[misc]


async def _put(t: StationTest, root: Root, use: str) -> None:
    answer = await t.ask("InstallCertificate", certificateType=use, certificate=root.pem)
    t.check(answer["status"] == "Accepted", "M05.FR.02", f"answers {answer['status']} to a {use}")


async def delete_others(t: StationTest, use: str, kept: list[Payload]) -> None:
    """Delete the certificates of a kind, except those that are kept."""
    for each in await installed(t, use):
        if each not in kept:
            await t.ask("DeleteCertificate", certificateHashData=each["certificateHashData"])


async def installed(t: StationTest, *uses: str) -> list[Payload]:
    """Return the entries of certificates of these kinds, none: of all kinds. Raises Failed."""
    wanted = {"certificateType": list(uses)} if uses else {}
    answer = await t.ask("GetInstalledCertificateIds", **wanted)
    entries: list[Payload] = answer.get("certificateHashDataChain", [])
    expected = "Accepted" if entries else "NotFound"
    requirement = "M03.FR.03" if entries else "M03.FR.02"
    t.check(answer["status"] == expected, requirement, f"answers {answer['status']} with {len(entries)} certificates")
    others = {each["certificateType"] for each in entries} - set(uses)
    t.check(not uses or not others, "M03.FR.04", f"lists other kinds: {', '.join(sorted(others))}")
    return entries


def lists(entries: list[Payload], root: Authority) -> bool:
    """Return whether a root is among the entries, with its kind."""
    same = (each["certificateHashData"] for each in entries if each["certificateType"] == root.use)
    return any(map(root.is_named_by, same))
