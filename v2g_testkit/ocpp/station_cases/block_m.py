"""Functional block M, certificates: cases for charging stations of what a back end installs, lists and deletes."""

from typing import Final

from v2g_testkit.ocpp.case import Block, NotApplicable, given, precondition
from v2g_testkit.ocpp.certificates import Authority
from v2g_testkit.ocpp.station_cases.roots import CSMS, MANUFACTURER, MO, V2G, install, installed, lists
from v2g_testkit.ocpp.station_tester import StationTest

M: Final[Block[StationTest]] = Block()
M_15118: Final = M.having(profiles=("ISO 15118 Support",), needs=("ISO15118Ctrlr.Enabled",))

CHAIN: Final = "V2GCertificateChain"


# -- install


def _installs(number: str, what: str, use: str, block: Block[StationTest]) -> None:
    """Add a case in which a root for a use is installed."""

    @block.case(f"TC_M_{number}_CS", f"Install {what}", also="M05.FR.02", quick=use == CSMS)
    async def script(t: StationTest) -> None:
        """The station accepts the root, and lists it."""
        root = await install(t, use)
        t.check(lists(await installed(t, use), root), "M05.FR.01", f"does not list the {use} that it accepted")


_installs("01", "a root of back ends", CSMS, M)
_installs("02", "a root of firmware", MANUFACTURER, M)
_installs("03", "a V2G root", V2G, M_15118)
_installs("04", "a root of contracts", MO, M_15118)


@M.case("TC_M_07_CS", "Install a root that has expired", also="M05.FR.01")
async def install_expired(t: StationTest) -> None:
    """The station rejects the root, and does not list it; nor does it accept text that cannot be read as one."""
    root = Authority(CSMS, t.now(), last_day=-1)
    await t.must_answer("Rejected", "M05.FR.07", "InstallCertificate", certificateType=CSMS, certificate=root.pem)
    t.check(not lists(await installed(t, CSMS), root), "M05.FR.07", "lists the root that it rejected")
    answer = await t.ask("InstallCertificate", certificateType=CSMS, certificate="-----BEGIN CERTIFICATE-----\nAAAA\n")
    t.one_of(answer["status"], ("Rejected", "Failed"), "M05.FR.07", "answers {} to an unreadable certificate")


@M.case("V2G-M-01-CS", "Install two roots of firmware, and the first again", also="M05.FR.02")
async def install_again(t: StationTest) -> None:
    """The station has both, and each of them once."""
    with precondition():
        roots = [await install(t, MANUFACTURER) for _ in range(2)]
    request = {"certificateType": MANUFACTURER, "certificate": roots[0].pem}
    await t.must_answer("Accepted", "M05.FR.17", "InstallCertificate", **request)
    entries = await installed(t, MANUFACTURER)
    for root, requirement in zip(roots, ("M05.FR.17", "M05.FR.02"), strict=True):
        times = sum(root.is_named_by(each["certificateHashData"]) for each in entries)
        t.equal(times, 1, requirement, "lists a root {} times")


@M.case(
    "TC_M_09_CS", "Install a root that the present one has not signed", also="M05.FR.10",
    needs=("SecurityCtrlr.AdditionalRootCertificateCheck",),
)  # fmt: skip
async def install_unsigned(t: StationTest) -> None:
    """A station that checks this rejects the root, and lists those that it had."""
    before = await installed(t, CSMS)
    t.needs(bool(before), "it has no root of its back end")
    root = Authority(CSMS, t.now())
    await t.must_answer("Rejected", "M05.FR.11", "InstallCertificate", certificateType=CSMS, certificate=root.pem)
    after = await installed(t, CSMS)
    t.check(not lists(after, root), "M05.FR.11", "lists the root that it rejected")
    t.check(all(each in after for each in before), "M05.FR.11", "does not list the root that it had any more")


# -- list


def _lists(number: str, what: str, *uses: str, block: Block[StationTest] = M) -> None:
    """Add a case in which roots for some uses are installed, and listed."""

    @block.case(
        f"TC_M_{number}_CS", f"List {what}", also="M03.FR.01 M03.FR.03",
        required="The station lists the roots of both kinds, and no others." if len(uses) > 1
        else "The station lists the root that was installed, and no other kinds.",
    )  # fmt: skip
    async def script(t: StationTest) -> None:
        with precondition():
            roots = [await install(t, use) for use in uses]
        entries = await installed(t, *uses)
        for root in roots:
            t.check(lists(entries, root), "M03.FR.04", f"does not list a {root.use}")


_lists("12", "roots of back ends", CSMS)
_lists("13", "roots of firmware", MANUFACTURER)
_lists("14", "V2G roots", V2G, block=M_15118)
_lists("16", "roots of contracts", MO, block=M_15118)
_lists("17", "roots of two kinds", CSMS, MANUFACTURER)


@M_15118.case("TC_M_15_CS", "List the station's own V2G chain", also="M03.FR.01 M03.FR.03")
async def list_chain(t: StationTest) -> None:
    """The station lists its chain, with its sub-CAs as children."""
    whole = await installed(t)
    t.needs(any(each["certificateType"] == CHAIN for each in whole), "it has no V2G certificate")
    chains = await installed(t, CHAIN)
    t.check(bool(chains), "M03.FR.04", "lists its chain only with all others")
    alone = [each for each in chains if not each.get("childCertificateHashData")]
    t.check(not alone, "M03.FR.05", "lists a chain without its sub-CAs")


@M.case("TC_M_18_CS", "List certificates of all kinds", also="M03.FR.01 M03.FR.03")
async def list_all(t: StationTest) -> None:
    """Asked for no kind, the station lists all."""
    with precondition():
        roots = [await install(t, use) for use in (CSMS, MANUFACTURER)]
    entries = await installed(t)
    for root in roots:
        t.check(lists(entries, root), "M03.FR.04", f"does not list a {root.use}")


@M.case("TC_M_19_CS", "List certificates of a kind of which there are none", also="M03.FR.01")
async def list_none(t: StationTest) -> None:
    """The station answers NotFound, without a list."""
    with precondition():
        await install(t, MANUFACTURER)
        whole = await installed(t)
    t.needs(all(each["certificateType"] != MO for each in whole), "it has roots of contracts, which are left alone")
    answer = await t.must_answer("NotFound", "M03.FR.02", "GetInstalledCertificateIds", certificateType=[MO])
    t.check("certificateHashDataChain" not in answer, "M03.FR.02", "answers with a list")


# -- delete


@M.case("TC_M_20_CS", "Delete a root", requirements="M04.FR.01 M04.FR.02")
async def delete(t: StationTest) -> None:
    """The station accepts that, and lists all others, but not the root."""
    with precondition():
        root = await install(t, CSMS)
        await install(t, MANUFACTURER)
        entries = await installed(t)
        t.check(lists(entries, root), "M03.FR.04", "does not list the root")
    names = next(e["certificateHashData"] for e in entries if root.is_named_by(e["certificateHashData"]))
    await t.must_answer("Accepted", "M04.FR.02", "DeleteCertificate", certificateHashData=names)
    left = await installed(t)
    t.check(not lists(left, root), "M04.FR.02", "still lists the root")
    others = [each for each in entries if each["certificateHashData"] != names]
    t.check(all(each in left for each in others), "M04.FR.02", "does not list another certificate any more")


@M.case("TC_M_22_CS", "Delete a certificate that the station does not have", also="M04.FR.01")
async def delete_unknown(t: StationTest) -> None:
    """The station answers NotFound, and keeps what it has."""
    root = await given(install(t, CSMS))
    answer = await t.ask("DeleteCertificate", certificateHashData=Authority(CSMS, t.now()).hash_data())
    t.check(answer["status"] == "NotFound", "M04.FR.04", f"answers {answer['status']}")
    t.check(lists(await installed(t, CSMS), root), "M04.FR.04", "has deleted another certificate")


@M.case("TC_M_23_CS", "Delete the station's own certificate", profiles=("Advanced Security",))
async def delete_own(t: StationTest) -> None:
    """The station answers Failed, and connects with the certificate as before."""
    own = t.opening.certificate
    if own is None:
        raise NotApplicable("it connects without a certificate of its own")
    hashes = t.needs_authority().names(own)
    await t.must_answer("Failed", "M04.FR.06", "DeleteCertificate", certificateHashData=hashes)
    async with t.reconnects():
        await t.disconnect()
    t.check(t.opening.certificate == own, "M04.FR.06", "connects with another certificate")
