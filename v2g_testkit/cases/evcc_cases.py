"""Cases for vehicles, derived from the sequence charts, the timers and the response codes; AC and DC."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.timing import MESSAGES, Timing
from v2g_testkit.cases import der
from v2g_testkit.cases.case import CLOSING_S, Case, ChargerScript, Expect, vehicle_case
from v2g_testkit.cases.evcc_probes import probes
from v2g_testkit.cases.evcc_safety import safety
from v2g_testkit.cases.scripted_charger import JOINS

FAMILIES: Final = (Family.AC, Family.DC)
"""Message sets of the reference charger."""

_COMMON: Final = (
    "SupportedAppProtocolReq",
    "SessionSetupReq",
    "AuthorizationSetupReq",
    "AuthorizationReq",
    "ServiceDiscoveryReq",
    "ServiceDetailReq",
    "ServiceSelectionReq",
)
_PLANNED: Final = ("ChargeParameterDiscoveryReq", "ScheduleExchangeReq")

MISBEHAVIOUR: Final = (
    "out of order*",
    "asks * with another SessionID",
    "sends *",
    "selects *",
    "asks about service *",
    "states *",
    "signs another challenge",
    "its signature is wrong*",
    "confirms *",
)
"""Facts that are always faults of a vehicle."""

_ENDS: Final = Expect(closes=True, no_facts=("asks on", *MISBEHAVIOUR), state_b=True)
"""The vehicle ends the session: it may only send its stop messages (V2G20-436 to -440)."""

_NOTICED: Final = "how, and how soon, a vehicle follows this notice is not fully public"
_SIGNER: Final = "the signer of readings, and the time limit, are not public"
_UNREADABLE: Final = "the reaction to undecodable bytes is not public"


def requests_of(family: Family) -> tuple[str, ...]:
    """Return the requests of a whole session, in order."""
    name = family.value
    on_the_way = ("DC_CableCheckReq", "DC_PreChargeReq") if family is Family.DC else ()
    return (
        *_COMMON,
        f"{name}_{_PLANNED[0]}",
        _PLANNED[1],
        *on_the_way,
        "PowerDeliveryReq",
        f"{name}_ChargeLoopReq",
        *(("DC_WeldingDetectionReq",) if family is Family.DC else ()),
        "SessionStopReq",
    )


def evcc_cases(family: Family) -> tuple[Case, ...]:
    """Return every case for a vehicle with this message set, in the order of execution."""
    assert family in FAMILIES
    parts = (
        _whole,
        _timing,
        _failures,
        _strange,
        _silence,
        _ongoing,
        _warnings,
        _notices,
        _pauses,
        _unreadable,
        safety,
        der.evcc_cases,
    )
    return (*probes(), *(case for part in parts for case in part(family)))


def _whole(family: Family) -> Iterator[Case]:
    closing = Timing().close
    for pay in ("EIM", "PnC"):
        ids = ("V2G20-1216", *(("V2G20-2565", "V2G20-1063") if pay == "PnC" else ()))
        expect = Expect(reaches=True, no_facts=MISBEHAVIOUR)
        yield vehicle_case(
            family, f"RUN-{pay}", f"A complete session, {pay} offered",
            "requests in order, of this session, within the offer; it ends when the charger requests it",
            ids, ChargerScript(expect=expect, pay=pay),
        )  # fmt: skip
    yield vehicle_case(
        family, "END-close", "After SessionStopRes", f"the vehicle closes first, within {closing:g} s",
        ("V2G20-1633", "V2G20-1643"), ChargerScript(expect=Expect(closes=True, within=(0.0, closing))),
        open="how soon a vehicle closes is not public, only how long a charger waits for it",
    )  # fmt: skip


def _timing(family: Family) -> Iterator[Case]:
    timing = Timing()
    rows: list[tuple[str, float, tuple[str, ...]]] = [
        ("ChargeLoop", timing.evcc_loop_performance, ("V2G20-1499", "V2G20-1501"))
    ]
    rows += [(name, timing.evcc_sequence_performance, ()) for name in requests_of(family)[1:]]
    for request, most, ids in rows:
        if request.endswith("ChargeLoopReq"):
            continue
        yield vehicle_case(
            family, f"TIM-{request}", f"Time from the previous response to {request}", f"within {most:g} s",
            ids or ("Tables 215 to 218",), ChargerScript(expect=Expect(timely=(request, most))),
        )  # fmt: skip


def _failures(family: Family) -> Iterator[Case]:
    """Every FAILED code in every response: the vehicle ends the session."""
    codes = [each.name for each in ResponseCode if each.name.startswith("FAILED")]
    for request in requests_of(family):
        for code in codes if request != "SupportedAppProtocolReq" else ("Failed_NoNegotiation",):
            last = request == "SessionStopReq"  # the last request
            yield vehicle_case(
                family, f"COD-{request[:-3]}Res-{code}", f"{request[:-3]}Res with {code}",
                "the vehicle ends the session and closes", ("V2G20-436", "V2G20-440"),
                ChargerScript(at=request, twist="code", value=code, expect=_ENDS),
                quick=code in ("FAILED", "Failed_NoNegotiation") or (last and code == "FAILED_PauseNotAllowed"),
            )  # fmt: skip


def _strange(family: Family) -> Iterator[Case]:
    for request in requests_of(family):
        answer = f"{request[:-3]}Res"
        if request not in ("SupportedAppProtocolReq", "SessionSetupReq"):
            yield vehicle_case(
                family, f"SID-{answer}", f"{answer} with another SessionID",
                "the vehicle ends the session and closes", (),
                ChargerScript(at=request, twist="other session", expect=_ENDS),
            )  # fmt: skip
        if request != "SupportedAppProtocolReq":
            yield vehicle_case(
                family, f"TYP-{answer}", f"The response to another request instead of {answer}",
                "the vehicle ends the session and closes", (),
                ChargerScript(at=request, twist="other response", expect=_ENDS),
            )  # fmt: skip


def _silence(family: Family) -> Iterator[Case]:
    for request in requests_of(family):
        timing = MESSAGES[request]
        most = timing.timeout + CLOSING_S
        yield vehicle_case(
            family, f"SIL-{request}", f"{request} is not answered",
            f"the vehicle waits at least {timing.performance:g} s, ends after {timing.timeout:g} s, and then closes",
            ("V2G20-436", "V2G20-440"),
            ChargerScript(
                at=request, twist="silence", watch_s=most + 1.0,
                expect=Expect(within=(timing.performance, most), no_facts=("asks on",), state_b=True),
            ),
        )  # fmt: skip


def _ongoing(family: Family) -> Iterator[Case]:
    timing = Timing()
    ends = timing.ongoing + CLOSING_S
    rows = [
        ("AuthorizationReq", timing.ongoing_performance, ends),
        ("ScheduleExchangeReq", timing.ongoing_performance, ends),
    ]
    if family is Family.DC:
        rows.append(("DC_CableCheckReq", 0.0, timing.evcc_cable_check + CLOSING_S))
    for request, least, most in rows:
        yield vehicle_case(
            family, f"ONG-{request}", f"{request} is always answered Ongoing",
            f"the vehicle ends the session after {least:g} to {most - CLOSING_S:g} s", ("Tables 215 to 218",),
            ChargerScript(
                at=request, twist="ongoing", value="Ongoing", again=True, watch_s=most + 1.0,
                expect=Expect(within=(least, most), no_facts=MISBEHAVIOUR),
            ),
        )  # fmt: skip
    if family is Family.DC:
        most = timing.evcc_pre_charge + CLOSING_S
        yield vehicle_case(
            family, "ONG-DC_PreChargeReq", "The pre-charge voltage is never reached",
            f"the vehicle ends the session after {timing.evcc_pre_charge:g} s", ("Tables 215 to 218",),
            ChargerScript(
                at="DC_PreChargeReq", twist="no voltage", again=True, watch_s=most + 1.0,
                expect=Expect(within=(0.0, most), no_facts=("asks PowerDeliveryReq Start", *MISBEHAVIOUR)),
            ),
        )  # fmt: skip


def _warnings(family: Family) -> Iterator[Case]:
    for code in [each.name for each in ResponseCode if each.name.startswith("WARNING")]:
        about = code.startswith(("WARNING_Certificate", "WARNING_Auth", "WARNING_Ch", "WARNING_EIM", "WARNING_eMSP"))
        if not about and code != "WARNING_GeneralPnCAuthorizationError":
            continue
        yield vehicle_case(
            family, f"WRN-{code}", f"AuthorizationRes with {code}", "the vehicle does not proceed as if authorised",
            ("V2G20-2226", "V2G20-1978"),
            ChargerScript(
                at="AuthorizationReq", twist="code", value=code, again=True, watch_s=10.0,
                expect=Expect(no_facts=("asks ServiceDiscoveryReq", *MISBEHAVIOUR)),
            ),
            quick=code == "WARNING_EIMAuthorizationFailure",
        )  # fmt: skip


def _notices(family: Family) -> Iterator[Case]:
    loop = f"{family.value}_ChargeLoopReq"
    rows = (
        ("Terminate", ("asks PowerDeliveryReq Stop", "stops the session: Terminate"), ""),
        ("Pause", ("asks PowerDeliveryReq Stop", "stops the session: Pause"), _NOTICED),
        ("ScheduleRenegotiation", ("asks PowerDeliveryReq ScheduleRenegotiation",), _NOTICED),
        ("ServiceRenegotiation", ("asks PowerDeliveryReq Stop", "stops the session: ServiceRenegotiation"), _NOTICED),
    )
    for notice, facts, why in rows:
        yield vehicle_case(
            family, f"NOT-{notice}", f"The charger's notice {notice} in the charge loop",
            ", then ".join(facts).replace("asks", "the vehicle sends"), ("V2G20-1960",) if not why else (),
            ChargerScript(
                at=loop, nth=3, twist="notify", value=notice, watch_s=10.0,
                expect=Expect(facts=facts, no_facts=MISBEHAVIOUR),
            ),
            open=why,
        )  # fmt: skip
    yield vehicle_case(
        family, "NOT-MeteringConfirmation", "The charger's notice MeteringConfirmation, with a reading and a receipt",
        "MeteringConfirmationReq with both as received, signed with the contract's key; the loop continues",
        ("V2G20-1083",),
        ChargerScript(
            at=loop, nth=3, twist="notify", value="MeteringConfirmation", watch_s=10.0, pay="PnC",
            expect=Expect(closes=False, facts=("asks MeteringConfirmationReq",), no_facts=MISBEHAVIOUR),
        ),
        open=_SIGNER,
    )  # fmt: skip


def _pauses(family: Family) -> Iterator[Case]:
    """The session after a pause for which the charger asked."""
    pause = ChargerScript(at=f"{family.value}_ChargeLoopReq", nth=3, twist="notify", value="Pause", watch_s=10.0)
    setup = "SessionSetupReq"
    whole = Expect(reaches=True, facts=(JOINS,), no_facts=MISBEHAVIOUR)
    anew = Expect(facts=(JOINS, "asks AuthorizationSetupReq"), no_facts=MISBEHAVIOUR)
    for name, title, required, again in (
        ("resume", "A paused session is resumed", "the vehicle joins it, and continues with its charge parameters",
         ChargerScript(resume=True, expect=whole)),
        ("forgotten", "The charger has forgotten the paused session", "the vehicle continues in the new session",
         ChargerScript(at=setup, twist="forgets", watch_s=5.0, resume=True, expect=anew)),
        ("other-session", "The charger joins a session with another SessionID", "the vehicle ends the session",
         ChargerScript(at=setup, twist="other session", resume=True, expect=_ENDS)),
    ):  # fmt: skip
        case = vehicle_case(family, f"PAU-{name}", title, required, ("V2G20-2545", "V2G20-1032"), pause)
        yield replace(case, charger_scripts=(pause, again))


def _unreadable(family: Family) -> Iterator[Case]:
    for request in ("SessionSetupReq", "ServiceDiscoveryReq", f"{family.value}_ChargeLoopReq"):
        for form in ("wrong version", "EXI of no message", "reserved payload type"):
            yield vehicle_case(
                family, f"GTP-{request[:-3]}Res-{form.replace(' ', '_')}",
                f"V2GTP: {form} instead of {request[:-3]}Res",
                "the vehicle ends the session", ("clause 8.6",),
                ChargerScript(at=request, twist="bytes", value=form, expect=Expect(closes=True)),
                open=_UNREADABLE, quick=request == "ServiceDiscoveryReq",
            )  # fmt: skip
