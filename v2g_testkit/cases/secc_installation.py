"""Cases for chargers about contracts that a vehicle requests from the back end (CertificateInstallation)."""

from collections.abc import Iterator
from typing import Final

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g.iso15118.engine.sequence import State
from v2g_testkit.cases.case import Ask, Case, Detour, Do, Expect, Script, Silence
from v2g_testkit.cases.scripted_vehicle import UNFINISHED

DELIVERS: Final = "delivers a contract"
UNUSABLE: Final = "its contract cannot be used"
MORE: Final = "announces more contracts"
NOTHING: Final = ("WARNING_NoCertificateAvailable", "WARNING_NoContractMatchingPCIDFound")
"""Codes of a back end that has no contract for the vehicle."""

_ASKED: Final = "CertificateInstallationReq"
_DETOUR: Final = Detour(at=State.AUTHORIZATION, request=_ASKED)
_TIMELY: Final = (_ASKED, MESSAGES[_ASKED].performance)
_REFUSED: Final = ("FAILED_SignatureError",)


def installation(family: Family) -> Iterator[Case]:
    """Return the cases of one message set."""
    ongoing_s = Timing().ongoing

    def case(
        name: str, title: str, required: str, ids: tuple[str, ...], do: Do, *, goal: State = State.AUTHORIZATION,
        detour: Detour | None = None, why: str = "", quick: bool = False, **expect: object,
    ) -> Case:  # fmt: skip
        script = Script(goal=goal, do=do, detour=detour, expect=Expect(**expect))  # type: ignore[arg-type]
        return Case(
            id=f"SECC-INS-{family.value}-{name}", title=title, required=required, requirements=ids, open=why,
            family=family, quick=quick, scripts=(script,),
        )  # fmt: skip

    def asked(change: str = "", *, unless: tuple[str, ...] = ()) -> Ask:
        return Ask(_ASKED, change, ongoing_s, unless)

    usable = (UNFINISHED, f"{UNUSABLE}*")
    yield case("contract", "A request for contracts", f"within {ongoing_s:g} s a contract that the vehicle can use",
               ("V2G20-1972",), asked(unless=NOTHING), quick=True, codes=("OK*",), facts=(DELIVERS,),
               no_facts=usable, timely=_TIMELY)  # fmt: skip
    yield case("time", "A request for contracts, whatever the back end answers, or if it does not answer",
               f"each response within {_TIMELY[1]:g} s, finished within {ongoing_s:g} s", ("V2G20-2207", "V2G20-2225"),
               asked(), codes=("OK*", "WARNING*"), no_facts=(UNFINISHED,), timely=_TIMELY)  # fmt: skip
    yield case("one", "A vehicle with room for one contract", "one contract, and no more announced", ("V2G20-1975",),
               asked("one contract", unless=NOTHING), codes=("OK*",), facts=(DELIVERS,),
               no_facts=(*usable, MORE))  # fmt: skip
    yield case("authorization", "AuthorizationReq after every contract, or none, has come", "OK*",
               ("V2G20-1973", "V2G20-1975", "V2G20-2224"), Ask("AuthorizationReq"), detour=_DETOUR,
               codes=("OK*",))  # fmt: skip
    for change in ("broken signature", "no signature", "other key", "changed chain"):
        yield case(change.replace(" ", "-"), f"CertificateInstallationReq: {change}",
                   "FAILED_SignatureError, then the end of the session", ("V2G20-461",), asked(change),
                   quick=change.endswith("signature"), codes=_REFUSED, closes=True)  # fmt: skip
    for change, title, codes, ids, why in (
        ("expired provisioning", "A provisioning certificate that has expired", ("WARNING_CertificateExpired",),
         ("V2G20-2203",), ""),
        ("future provisioning", "A provisioning certificate that is not valid yet",
         ("WARNING_CertificateNotYetValid",), ("V2G20-2204",), ""),
        ("unknown maker", "A provisioning certificate under an unknown root", ("WARNING*",), (), ""),
        ("forged provisioning", "A provisioning certificate not signed by its CA", ("WARNING*", "FAILED*"), (), ""),
        ("no sub-CAs", "A provisioning certificate without its sub-CAs", ("WARNING*",), (),
         "a back end may know the sub-CAs of a vehicle's maker"),
    ):  # fmt: skip
        yield case(change.replace(" ", "-"), title, f"{' or '.join(codes)}, and no contract", ids, asked(change),
                   why=why, quick=change == "expired provisioning", codes=codes,
                   no_facts=(UNFINISHED, DELIVERS))  # fmt: skip
    yield case("other-session", "CertificateInstallationReq with another SessionID",
               "FAILED_UnknownSession, then the end of the session", ("V2G20-460",), Ask(_ASKED, "other session"),
               codes=("FAILED_UnknownSession",), closes=True)  # fmt: skip
    out_of_order = ("FAILED_SequenceError",)
    yield case("late", "CertificateInstallationReq after the authorization",
               "FAILED_SequenceError, then the end of the session", ("V2G20-459",), Ask(_ASKED),
               goal=State.SERVICE_DISCOVERY, codes=out_of_order, closes=True)  # fmt: skip
    waiting = State.CERTIFICATE_INSTALLATION
    for request in ("AuthorizationReq", "ServiceDiscoveryReq"):
        yield case(f"meanwhile-{request}", f"{request} while the charger answers Ongoing",
                   "FAILED_SequenceError, then the end of the session", ("V2G20-459",), Ask(request), goal=waiting,
                   detour=_DETOUR, codes=out_of_order, closes=True)  # fmt: skip
    yield case("meanwhile-changed", "Another CertificateInstallationReq while the charger answers Ongoing",
               "FAILED_SequenceError, then the end of the session", ("V2G20-1972",), Ask(_ASKED, "one contract"),
               goal=waiting, detour=_DETOUR, why="the answer to a request that changes meanwhile is not public",
               codes=out_of_order, closes=True)  # fmt: skip
    least = Timing().secc_sequence
    yield case("silence", "The vehicle stops responding while the charger answers Ongoing",
               f"the charger ends the session, not before {least:g} s", ("V2G20-441", "V2G20-443"),
               Silence(least + 2.0), goal=waiting, detour=_DETOUR, within=(least, least + 1.0))  # fmt: skip
