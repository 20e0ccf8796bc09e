"""Cases for vehicles of ISO 15118-2 and DIN 70121: faults of a charger in every response, one in a case.

The cases of ISO 15118-4 for vehicles are not public: these copy the grammar of those for chargers, under names of our
own. `published` is the group's name in ISO 15118-4.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from v2g.iso15118.d2.response_codes import USES as USES_2
from v2g.iso15118.d2.timing import MESSAGES as MESSAGES_2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din.response_codes import USES as USES_DIN
from v2g.iso15118.din.timing import MESSAGES as MESSAGES_DIN
from v2g.iso15118.engine.message_timing import MessageTiming, SharedTiming
from v2g.iso15118.engine.response_codes import CodeUse, has_place
from v2g_testkit.cases.case import CLOSING_S, Case, ChargerScript, Expect
from v2g_testkit.cases.evcc_cases import MISBEHAVIOUR
from v2g_testkit.cases.evcc_probes import sdp_probes
from v2g_testkit.cases.malformed import HEADERS

_ENDS: Final = Expect(closes=True, no_facts=("asks on", *MISBEHAVIOUR), state_b=True)
"""The vehicle ends the session: at most it sends SessionStopReq."""

_IGNORED: Final = "whether a vehicle ignores the frame until its time-out, or ends the session at once, is not public"
_NOTICED: Final = "a vehicle may finish its charging first, and may not support a renegotiation"
_CLOSING: Final = "how soon a vehicle closes is not public, only how long a charger waits for it"


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What the editions name or number differently."""

    edition: str
    title: str
    messages: Mapping[str, MessageTiming]
    codes: Mapping[str, CodeUse]
    opening: tuple[str, ...]
    """Requests between the handshake and the charge parameters."""
    failed: tuple[str, ...]
    """Requirements on a vehicle after a failure."""


EDITION_2: Final = Words(
    edition="2",
    title="ISO 15118-2",
    messages=MESSAGES_2,
    codes=USES_2,
    opening=("SessionSetupReq", "ServiceDiscoveryReq", "PaymentServiceSelectionReq", "AuthorizationReq"),
    failed=("V2G2-734",),
)
EDITION_DIN: Final = Words(
    edition="din",
    title="DIN 70121",
    messages=MESSAGES_DIN,
    codes=USES_DIN,
    opening=("SessionSetupReq", "ServiceDiscoveryReq", "ServicePaymentSelectionReq", "ContractAuthenticationReq"),
    failed=(),
)


def requests_of(words: Words, family: Family) -> tuple[str, ...]:
    """Return the requests of a whole session with external payment, in order."""
    opening = ("SupportedAppProtocolReq", *words.opening, "ChargeParameterDiscoveryReq")
    if family is Family.AC:
        return (*opening, "PowerDeliveryReq", "ChargingStatusReq", "SessionStopReq")
    energy = ("CableCheckReq", "PreChargeReq", "PowerDeliveryReq", "CurrentDemandReq", "WeldingDetectionReq")
    return (*opening, *energy, "SessionStopReq")


def _asked(words: Words, family: Family) -> Iterator[tuple[str, str]]:
    """Yield each request of a session, with the payment in which it has a place: "" where it does not matter."""
    for request in requests_of(words, family):
        if words.edition == "2" and request == "AuthorizationReq":
            yield "PaymentDetailsReq", "PnC"
        yield request, ""


def evcc_cases(words: Words, family: Family) -> tuple[Case, ...]:
    """Return every case for a vehicle of an edition with this message set, in the order of execution."""
    parts = (_whole, _failures, _strange, _silence, _ongoing, _notices, _headers)
    return (*sdp_probes(), *(case for part in parts for case in part(words, family)))


def _case(
    words: Words, family: Family, name: str, title: str, required: str, script: ChargerScript, **more: object
) -> Case:
    group, _, rest = name.partition("-")
    edition = "DIN" if words.edition == "din" else f"2-{family.value}"
    message = script.at.removesuffix("Req")
    scope = "CMN" if script.pay or script.at in requests_of(words, family)[:5] else family.value
    return Case(
        id=f"EVCC-{group}-{edition}-{rest}",
        published=(f"TC_EVCC_{scope}_VTB_{message}",) if message and words.edition == "2" else (),
        title=title,
        required=required,
        family=family,
        charger_scripts=(script,),
        **more,  # type: ignore[arg-type]
    )


def _whole(words: Words, family: Family) -> Iterator[Case]:
    yield _case(
        words, family, "RUN-EIM", f"A complete session of {words.title}",
        "requests in order, of this session, within the offer; it ends when the charger requests it",
        ChargerScript(expect=Expect(reaches=True, no_facts=MISBEHAVIOUR)),
    )  # fmt: skip
    if words.edition == "2":
        yield _case(
            words, family, "RUN-PnC", "A complete session by contract",
            "requests in order, the challenge signed by the contract's key",
            ChargerScript(expect=Expect(reaches=True, no_facts=MISBEHAVIOUR), pay="PnC"),
            requirements=("V2G2-475",),
        )  # fmt: skip
    closing = SharedTiming().close
    yield _case(
        words, family, "END-close", "After SessionStopRes", f"the vehicle closes first, within {closing:g} s",
        ChargerScript(expect=Expect(closes=True, within=(0.0, closing))), open=_CLOSING,
    )  # fmt: skip
    most = SharedTiming().evcc_sequence_performance
    for request in requests_of(words, family)[1:]:
        if request not in ("CurrentDemandReq", "ChargingStatusReq"):
            yield _case(
                words, family, f"TIM-{request}", f"Time from the previous response to {request}", f"within {most:g} s",
                ChargerScript(expect=Expect(timely=(request, most))), quick=False,
            )  # fmt: skip


def _failures(words: Words, family: Family) -> Iterator[Case]:
    """Every FAILED code in every response in which it has a place: the vehicle ends the session."""
    for request, pay in _asked(words, family):
        answer = f"{request[:-3]}Res"
        fitting = [each for each in words.codes if each.startswith("FAILED") and has_place(answer, each, words.codes)]
        for code in fitting if request != "SupportedAppProtocolReq" else ("Failed_NoNegotiation",):
            yield _case(
                words, family, f"COD-{answer}-{code}", f"{answer} with {code}",
                "the vehicle ends the session and closes",
                ChargerScript(at=request, twist="code", value=code, expect=_ENDS, pay=pay),
                requirements=words.failed, quick=code in ("FAILED", "Failed_NoNegotiation"),
            )  # fmt: skip


def _strange(words: Words, family: Family) -> Iterator[Case]:
    ends = "the vehicle ends the session and closes"
    for request, pay in list(_asked(words, family))[1:]:
        answer = f"{request[:-3]}Res"
        if request != "SessionSetupReq":
            yield _case(
                words, family, f"SID-{answer}", f"{answer} with another SessionID", ends,
                ChargerScript(at=request, twist="other session", expect=_ENDS, pay=pay),
            )  # fmt: skip
        yield _case(
            words, family, f"TYP-{answer}", f"The response to another request instead of {answer}", ends,
            ChargerScript(at=request, twist="other response", expect=_ENDS, pay=pay),
            quick=request == "SessionSetupReq",
        )  # fmt: skip


def _silence(words: Words, family: Family) -> Iterator[Case]:
    for request, pay in _asked(words, family):
        timing = words.messages[request]
        most = timing.timeout + CLOSING_S
        yield _case(
            words, family, f"SIL-{request}", f"{request} is not answered",
            f"the vehicle waits at least {timing.performance:g} s, ends after {timing.timeout:g} s, and then closes",
            ChargerScript(
                at=request, twist="silence", watch_s=most + 1.0, pay=pay,
                expect=Expect(within=(timing.performance, most), no_facts=("asks on",), state_b=True),
            ),
        )  # fmt: skip


def _ongoing(words: Words, family: Family) -> Iterator[Case]:
    """Responses that never finish: the vehicle gives up, and not before the charger may have finished."""
    timing = SharedTiming()
    rows = [
        (words.opening[-1], timing.secc_ongoing_performance, timing.evcc_ongoing),
        ("ChargeParameterDiscoveryReq", timing.secc_ongoing_performance, timing.evcc_ongoing),
        *([("CableCheckReq", timing.secc_cable_check, timing.evcc_cable_check)] if family is Family.DC else []),
    ]
    for request, least, most in rows:
        yield _case(
            words, family, f"ONG-{request}", f"{request} is always answered Ongoing",
            f"the vehicle ends the session after {least:g} to {most:g} s",
            ChargerScript(
                at=request, twist="ongoing", value="Ongoing", again=True, watch_s=most + CLOSING_S + 1.0,
                expect=Expect(within=(least, most + CLOSING_S), no_facts=MISBEHAVIOUR),
            ),
            quick=request == "CableCheckReq",
        )  # fmt: skip
    if family is not Family.DC:
        return
    most = timing.evcc_pre_charge
    no_start = ("asks PowerDeliveryReq Start", *MISBEHAVIOUR)
    yield _case(
        words, family, "ONG-PreChargeReq", "The pre-charge voltage is never reached",
        f"the vehicle ends the session after {most:g} s",
        ChargerScript(
            at="PreChargeReq", twist="no voltage", again=True, watch_s=most + CLOSING_S + 1.0,
            expect=Expect(within=(0.0, most + CLOSING_S), no_facts=no_start),
        ),
        requirements=("V2G-DC-380",) if words.edition == "din" else (),
    )  # fmt: skip
    yield _case(
        words, family, "SAF-isolation", "The cable check finds a fault of the insulation",
        "the vehicle ends the session, and asks for no voltage",
        ChargerScript(
            at="CableCheckReq", nth=2, twist="isolation", value="Fault", expect=_ENDS,
        ),
    )  # fmt: skip


def _notices(words: Words, family: Family) -> Iterator[Case]:
    loop = "ChargingStatusReq" if family is Family.AC else "CurrentDemandReq"
    stops = "asks PowerDeliveryReq Stop"
    rows = [("StopCharging", stops, ""), ("ReNegotiation", "asks PowerDeliveryReq Renegotiate", _NOTICED)]
    if words.edition == "din":
        rows = [("EVSE_Shutdown", stops, "")]
    for notice, fact, why in rows:
        field = "" if words.edition == "din" else "EVSENotification "
        yield _case(
            words, family, f"NOT-{notice}", f"{field}{notice} in the charge loop",
            fact.replace("asks", "the vehicle sends"),
            ChargerScript(
                at=loop, nth=3, twist="notify", value=notice, watch_s=10.0,
                expect=Expect(facts=(fact,), no_facts=MISBEHAVIOUR),
            ),
            open=why,
        )  # fmt: skip
    if family is Family.DC:
        yield _case(
            words, family, "SAF-emergency", "EVSE_EmergencyShutdown in the charge loop",
            "the vehicle stops: PowerDeliveryReq(Stop)",
            ChargerScript(
                at=loop, nth=3, twist="status", value="EVSE_EmergencyShutdown", watch_s=10.0,
                expect=Expect(facts=("asks PowerDeliveryReq Stop",), no_facts=MISBEHAVIOUR),
            ),
        )  # fmt: skip


def _headers(words: Words, family: Family) -> Iterator[Case]:
    for form in (*HEADERS, "EXI of no message"):
        yield _case(
            words, family, f"GTP-ServiceDiscoveryRes-{form.replace(' ', '_')}",
            f"{'V2GTP header' if form in HEADERS else 'Payload'} of ServiceDiscoveryRes: {form}",
            "the vehicle ends the session",
            ChargerScript(at="ServiceDiscoveryReq", twist="bytes", value=form, expect=Expect(closes=True)),
            open=_IGNORED, quick=form == "version FF",
        )  # fmt: skip
