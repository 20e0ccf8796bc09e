"""Cases for chargers of ISO 15118-2 and DIN 70121, by the published ids of ISO 15118-4.

One table has all of them: each row is a test of one message, with its number in ISO 15118-4. A row's template says
what is sent and required: `good` a correct request; `sequence` another request, FAILED_SequenceError; `session`
another SessionID, FAILED_UnknownSession; `silence` nothing; `refused` a fault, by the code of its row. DIN 70121,
which ISO 15118-4 does not cover, is tested by the same rows under names of our own.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

import msgspec

from v2g.iso15118.d2.timing import MESSAGES as MESSAGES_2
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.din.timing import MESSAGES as MESSAGES_DIN
from v2g.iso15118.engine.message_timing import MessageTiming, SharedTiming
from v2g.iso15118.engine.sequence import Asks, State
from v2g.typed_json import Fields
from v2g_testkit.cases.case import WRONG, Ask, Case, Detour, Expect, Malformed, Script, Silence
from v2g_testkit.cases.scripted_vehicle import DISCHARGED_S, RENEGOTIATED, SERVES, UNFINISHED
from v2g_testkit.cases.secc_contents import CHALLENGED
from v2g_testkit.cases.secc_installation import DELIVERS
from v2g_testkit.cases.secc_probes import ANSWERED, SILENT, TWICE
from v2g_testkit.cases.v2g_message.changes import ERRORS

CLOSES: Final = (0.0, SharedTiming().close)
"""Range of seconds in which a charger closes after a failure."""

_SEQUENCE_S: Final = SharedTiming().secc_sequence
_SETUP_S: Final = SharedTiming().secc_communication_setup
_LATE_S: Final = 1.0
"""Tolerance of the charger's long timers, s."""

_FINISHED_S: Final = {
    "Authorization": SharedTiming().evcc_ongoing,
    "ChargeParameterDiscovery": SharedTiming().evcc_ongoing,
    "CableCheck": SharedTiming().evcc_cable_check,
    "PreCharge": SharedTiming().evcc_pre_charge,
    "WeldingDetection": DISCHARGED_S,
}
"""Message -> how long the charger may take until it has finished, or has the voltage, s."""

_FOREIGN: Final = "answers with another SessionID"
_CLEAN: Final = (_FOREIGN, f"{WRONG}*")

Scope = Literal["CMN", "AC", "DC"]
Template = Literal["good", "sequence", "session", "silence", "refused"]


def published_id(scope: Scope, message: str, number: int) -> str:
    """Return the id of ISO 15118-4 of a test of a message."""
    return f"TC_SECC_{scope}_VTB_{message}_{number:03}"


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What the editions name or number differently."""

    edition: str
    title: str
    messages: Mapping[str, MessageTiming]
    requests: Mapping[str, str] = {}
    """Message of ISO 15118-2 -> that of this edition."""
    codes: Mapping[str, str] = {}
    """Response code of ISO 15118-2 -> that of this edition, or several with `|`."""
    requirements: Mapping[str, tuple[str, ...]]
    """Template -> its requirements."""

    def codes_for(self, code: str) -> tuple[str, ...]:
        """Return the response codes of this edition for one of ISO 15118-2."""
        return tuple(self.codes.get(code, code).split("|"))


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One test of a message."""

    scope: Scope
    message: str
    """Name of the message, and of the group in ISO 15118-4."""
    number: int
    template: Template
    goal: State
    change: str = ""
    code: str = "OK"
    title: str = ""
    pay: str = ""
    detour: Detour | None = None
    first: tuple[Script, ...] = ()
    """Connections before."""
    request: str = ""
    """The request, if not that of the message."""
    pilot: str = ""
    resume: bool = False
    installs: bool = False
    requirements: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    within: tuple[float, float] | None = None
    open: str = ""
    din: bool = True
    """Whether DIN 70121 has it, too."""
    quick: bool = False


# -- the table ----------------------------------------------------------------------------------------------------

_Numbers = tuple[int | None, int | None, int | None, int | None]
"""Numbers of the cases good, sequence, session and silence."""

_TEMPLATES: Final[tuple[Template, ...]] = ("good", "sequence", "session", "silence")

_WELDED: Final = Detour(at=State.DC_WELDING_DETECTION, request="WeldingDetectionReq")
_RENEGOTIATING: Final = Detour(at=State.DC_CHARGE_LOOP, request="PowerDeliveryReq", asks=Asks.RENEGOTIATE)

PLACES: Final[tuple[tuple[Scope, str, State, _Numbers, dict[str, object]], ...]] = (
    ("CMN", "SessionSetup", State.SESSION_SETUP, (1, 2, None, 3), {"code": "OK_NewSessionEstablished"}),
    ("CMN", "ServiceDiscovery", State.SERVICE_DISCOVERY, (1, 2, 3, 4), {}),
    ("CMN", "ServiceDetail", State.SERVICE_SELECTION, (None, 3, 5, 9), {"din": False}),
    ("CMN", "ServiceDetail", State.SERVICE_SELECTION, (None, 4, 6, 10), {"pay": "PnC"}),
    ("CMN", "PaymentServiceSelection", State.SERVICE_SELECTION, (1, 4, 5, 8), {}),
    ("CMN", "CertificateInstallation", State.PAYMENT_DETAILS, (1, 2, 3, 4), {"pay": "PnC", "installs": True}),
    ("CMN", "CertificateUpdate", State.PAYMENT_DETAILS, (1, 2, 3, 4), {"pay": "PnC", "installs": True}),
    ("CMN", "PaymentDetails", State.PAYMENT_DETAILS, (1, 4, 5, 6), {"pay": "PnC"}),
    ("CMN", "Authorization", State.AUTHORIZATION, (1, 3, 5, 8), {}),
    ("CMN", "Authorization", State.AUTHORIZATION, (2, 4, 6, 9), {"pay": "PnC"}),
    ("CMN", "ChargeParameterDiscovery", State.CHARGE_PARAMETER_DISCOVERY, (None, 1, None, 2), {}),
    ("AC", "ChargeParameterDiscovery", State.CHARGE_PARAMETER_DISCOVERY, (1, None, 3, None), {}),
    ("DC", "ChargeParameterDiscovery", State.CHARGE_PARAMETER_DISCOVERY, (1, None, 2, None), {}),
    ("DC", "CableCheck", State.DC_CABLE_CHECK, (1, 3, 4, 5), {}),
    ("DC", "PreCharge", State.DC_PRE_CHARGE, (1, 2, 3, 4), {}),
    ("AC", "PowerDelivery", State.POWER_DELIVERY, (1, 6, 8, 12), {}),
    ("AC", "PowerDelivery", State.AC_CHARGE_LOOP, (5, 7, 9, 13), {"change": "stop"}),
    ("DC", "PowerDelivery", State.DC_PRE_CHARGE_ONGOING, (1, 3, 5, 9), {}),
    ("DC", "PowerDelivery", State.DC_CHARGE_LOOP, (2, 4, 6, 10), {"change": "stop"}),
    ("AC", "ChargingStatus", State.AC_CHARGE_LOOP, (1, 3, 4, 5), {}),
    ("DC", "CurrentDemand", State.DC_CHARGE_LOOP, (1, 3, 4, 5), {}),
    ("DC", "WeldingDetection", State.DC_WELDING_DETECTION, (1, 2, 3, 4), {}),
    ("AC", "SessionStop", State.SESSION_STOP, (1, 2, 3, 4), {}),
    ("DC", "SessionStop", State.DC_WELDING_DETECTION, (1, 3, 4, 5), {}),
    ("DC", "SessionStop", State.DC_WELDING_DETECTION, (2, 7, 8, 9), {"detour": _WELDED}),
)
"""Scope, message, state, numbers, and fields of all four rows (`code` and `change` of the good one only)."""

_QUICK: Final = frozenset({"CableCheck", "ServiceDiscovery", "PowerDelivery"})


def _placed() -> Iterator[Row]:
    for scope, message, goal, numbers, fields in PLACES:
        for template, number in zip(_TEMPLATES, numbers, strict=True):
            if number is None:
                continue
            given = dict(fields)
            if template != "good":
                given.pop("code", None)
            quick = template == "good" or (message in _QUICK and template != "silence")
            quick |= message == "CableCheck"
            yield Row(scope=scope, message=message, number=number, template=template, goal=goal, quick=quick, **given)  # type: ignore[arg-type]


def _refused(
    scope: Scope, message: str, number: int, goal: State, change: str, code: str, ids: tuple[str, ...], **more: object
) -> Row:
    return Row(
        scope=scope, message=message, number=number, template="refused", goal=goal, change=change, code=code,
        requirements=ids, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def _good(scope: Scope, message: str, number: int, goal: State, change: str = "", **more: object) -> Row:
    return Row(scope=scope, message=message, number=number, template="good", goal=goal, change=change, **more)  # type: ignore[arg-type]


_SERVICES: Final = (
    _good("CMN", "ServiceDetail", 1, State.SERVICE_SELECTION, "added service", din=False),
    _good("CMN", "ServiceDetail", 2, State.SERVICE_SELECTION, "added service", pay="PnC"),
    _refused("CMN", "ServiceDetail", 7, State.SERVICE_SELECTION, "unknown service", "FAILED_ServiceIDInvalid",
             ("V2G2-464", "V2G2-425"), din=False, quick=True),
    _refused("CMN", "ServiceDetail", 8, State.SERVICE_SELECTION, "unknown service", "FAILED_ServiceIDInvalid",
             ("V2G2-464", "V2G2-425"), pay="PnC"),
    _good("CMN", "ServiceDetail", 11, State.SERVICE_SELECTION, "internet", din=False),
    _good("CMN", "ServiceDetail", 12, State.SERVICE_SELECTION, "internet", pay="PnC"),
    _good("CMN", "PaymentServiceSelection", 2, State.SERVICE_SELECTION, "with added services", din=False),
    _good("CMN", "PaymentServiceSelection", 3, State.SERVICE_SELECTION, "with added services", pay="PnC"),
    _refused("CMN", "PaymentServiceSelection", 6, State.SERVICE_SELECTION, "service not offered",
             "FAILED_ServiceSelectionInvalid", ("V2G2-467", "V2G-DC-396"), quick=True),
    _refused("CMN", "PaymentServiceSelection", 7, State.SERVICE_SELECTION, "no charge service",
             "FAILED_NoChargeServiceSelected", ("V2G2-804", "V2G-DC-396")),
    _refused("CMN", "PaymentServiceSelection", 9, State.SERVICE_SELECTION, "contract not offered",
             "FAILED_PaymentSelectionInvalid", ("V2G2-465", "V2G-DC-395")),
    _refused("CMN", "PaymentServiceSelection", 10, State.SERVICE_SELECTION, "external payment not offered",
             "FAILED_PaymentSelectionInvalid", ("V2G2-465",), din=False),
    _refused("CMN", "PaymentDetails", 7, State.PAYMENT_DETAILS, "", "FAILED_CertificateExpired", ("V2G2-824",),
             pay="PnC expired", title="An expired contract"),
    _refused("CMN", "Authorization", 7, State.AUTHORIZATION, "wrong challenge", "FAILED_ChallengeInvalid",
             ("V2G2-475",), pay="PnC"),
    _refused("CMN", "Authorization", 10, State.AUTHORIZATION, "wrong key", "FAILED_SignatureError", (), pay="PnC"),
    _refused("CMN", "Authorization", 11, State.AUTHORIZATION, "changed after signing", "FAILED_SignatureError", (),
             pay="PnC"),
)  # fmt: skip


_INSTALLED: Final = Detour(at=State.PAYMENT_DETAILS, request="CertificateInstallationReq")
_UPDATED: Final = Detour(at=State.PAYMENT_DETAILS, request="CertificateUpdateReq")
_CHAIN: Final = "FAILED_CertChainError"


def _contracts() -> Iterator[Row]:
    """Rows about contracts that a back end issues."""
    paid: Fields = {"pay": "PnC", "installs": True}
    here, signature = State.PAYMENT_DETAILS, "FAILED_SignatureError"
    installs, updates = "CertificateInstallation", "CertificateUpdate"
    for message in (installs, updates):
        yield _refused("CMN", message, 5, here, "wrong key", signature, (), **paid)
        yield _refused("CMN", message, 6, here, "changed after signing", signature, (), **paid)
    yield _refused("CMN", installs, 7, here, "expired provisioning", "FAILED_CertificateExpired", (), **paid)
    yield _refused("CMN", updates, 7, here, "sub-CAs inverted", _CHAIN, (), **paid)
    for number, change in ((8, "foreign leaf"), (9, "foreign sub-CA 2"), (10, "foreign sub-CA 1")):
        yield _refused("CMN", updates, number, here, change, _CHAIN, (), **paid)
    yield _refused("CMN", updates, 11, here, "", _CHAIN, (), **{**paid, "pay": "PnC unknown-root"},
                   title="A chain of another PKI")  # fmt: skip
    other = "FAILED|FAILED_NoCertificateAvailable|FAILED_ContractCanceled"
    yield _refused("CMN", updates, 12, here, "another eMAID", other, (), **paid)
    yield _refused("CMN", updates, 13, here, "malformed eMAID", other, (), **paid)
    yield _refused("CMN", updates, 16, here, "", "FAILED_CertificateExpired", ("V2G2-824",),
                   **{**paid, "pay": "PnC expired"}, title="An expired contract")  # fmt: skip
    for first, detour, what in ((2, _INSTALLED, "installation"), (3, _UPDATED, "update")):
        yield _good("CMN", "PaymentDetails", first, State.CONTRACT_INSTALLED, detour=detour, **paid,
                    title=f"PaymentDetailsReq with the contract of an {what}", requirements=("V2G2-560",))  # fmt: skip
        yield _good("CMN", "Authorization", first + 10, State.AUTHORIZATION, detour=detour, **paid,
                    title=f"AuthorizationReq with the contract of an {what}")  # fmt: skip


def _of_family(scope: Scope) -> Iterator[Row]:
    """Rows that AC and DC have in common, with numbers of their own."""
    ac = scope == "AC"
    loop = State.AC_CHARGE_LOOP if ac else State.DC_CHARGE_LOOP
    start = State.POWER_DELIVERY if ac else State.DC_PRE_CHARGE_ONGOING
    last = State.SESSION_STOP if ac else State.DC_WELDING_DETECTION
    discovery, schedules = "ChargeParameterDiscovery", ("departure", "limited entries", "departure and limited entries")
    first, again = State.CHARGE_PARAMETER_DISCOVERY, State.SCHEDULE_RENEGOTIATION
    yield _refused(scope, discovery, 4 if ac else 3, first, "mode not offered", "FAILED_WrongEnergyTransferMode",
                   ("V2G2-476", "V2G-DC-397"), quick=True)  # fmt: skip
    yield _refused(scope, discovery, 5 if ac else 4, first, "negative current", "FAILED_WrongChargeParameter",
                   ("V2G2-477",))  # fmt: skip
    for number, change in zip((6, 12, 16), schedules, strict=True):
        yield _good(scope, discovery, number, first, change, din=False)
    yield _good(scope, discovery, 2 if ac else 5, again, din=False, requirements=("V2G2-813",), quick=True)
    for number, change in zip((23, 25, 28), schedules, strict=True):
        yield _good(scope, discovery, number, again, change, din=False, requirements=("V2G2-813",))
    paused = (Script(goal=last, do=Ask("SessionStopReq", "pause"), expect=Expect(codes=("OK",))),)
    resumed: Fields = {"first": paused, "resume": True, "din": False}
    ids = ("V2G2-753", "V2G2-754")
    yield _good(scope, "SessionSetup", 1, State.SESSION_SETUP, code="OK_OldSessionJoined", quick=True,
                requirements=(*ids, "V2G2-463"), title="The session before the pause", **resumed)  # fmt: skip
    for number, change in ((2, "other session"), (3, "new session")):
        yield _good(scope, "SessionSetup", number, State.SESSION_SETUP, change, code="OK_NewSessionEstablished",
                    requirements=(*ids, "V2G2-756"), title=f"After a pause: {change}", **resumed)  # fmt: skip
    yield _good(scope, "ServiceDiscovery", 1, State.SERVICE_DISCOVERY, title="In a resumed session",
                requirements=("V2G2-741",), **resumed)  # fmt: skip
    for number, change in zip((7, 17, 19, 22), ("", *schedules), strict=True):
        yield _good(scope, discovery, number, first, change, title=f"In a resumed session{change and f': {change}'}",
                    **resumed)  # fmt: skip
    yield _refused(scope, "PowerDelivery", 10 if ac else 7, start, "profile above PMax",
                   "FAILED_ChargingProfileInvalid", ("V2G2-478", "V2G-DC-399", "V2G-DC-400"))  # fmt: skip
    yield _refused(scope, "PowerDelivery", 11 if ac else 8, start, "unknown schedule", "FAILED_TariffSelectionInvalid",
                   ("V2G2-479",), quick=True)  # fmt: skip
    yield _refused(scope, "PowerDelivery", 14 if ac else 13, start, "renegotiate", "FAILED", ("V2G2-812",), din=False)
    yield _good(scope, "PowerDelivery", 3 if ac else 11, loop, "renegotiate", din=False, requirements=("V2G2-813",))
    renegotiated = ("V2G2-841", "V2G2-842")
    if ac:
        yield _good(scope, "PowerDelivery", 4, State.POWER_DELIVERY_RENEGOTIATED, requirements=renegotiated)
    else:
        yield _good(scope, "PowerDelivery", 12, start, detour=_RENEGOTIATING, din=False, requirements=renegotiated,
                    title="Start after a renegotiation")  # fmt: skip
        for number, error in enumerate(ERRORS, 14):
            yield _good(scope, "PowerDelivery", number, loop, f"stop with {error}", quick=number == 14)
    message = "ChargingStatus" if ac else "CurrentDemand"
    for number, sent in ((6, "MeterInfo"), (8, "MeterReading")):
        yield _good(scope, message, number, loop, facts=(f"sends {sent}",), title=f"{sent} in the response", din=False,
                    open=f"whether {sent} is sent is for the charger's configuration")  # fmt: skip


_PILOT: Final = (
    _refused("DC", "CableCheck", 8, State.DC_CABLE_CHECK, "", "FAILED", ("V2G-DC-547",), pilot="B",
             title="The control pilot stays in state B", quick=True),
    _refused("DC", "WeldingDetection", 5, State.DC_WELDING_DETECTION, "", "FAILED", ("V2G-DC-556",), pilot="C",
             title="The control pilot stays in state C"),
    _refused("DC", "SessionStop", 6, State.DC_WELDING_DETECTION, "", "FAILED", (), pilot="C",
             title="The control pilot stays in state C"),
)  # fmt: skip

ROWS: Final[tuple[Row, ...]] = (*_placed(), *_SERVICES, *_contracts(), *_of_family("AC"), *_of_family("DC"), *_PILOT)


# -- cases --------------------------------------------------------------------------------------------------------

_ALLOWED: Final[Mapping[tuple[str, str], str]] = {
    ("CMN", "ServiceDiscovery"): "V2G2-543",
    ("CMN", "ServiceDetail"): "V2G2-545",
    ("CMN", "PaymentServiceSelection"): "V2G2-545",
    ("CMN", "CertificateInstallation"): "V2G2-551",
    ("CMN", "CertificateUpdate"): "V2G2-551",
    ("CMN", "PaymentDetails"): "V2G2-551",
    ("CMN", "Authorization"): "V2G2-551",
    ("AC", "ChargeParameterDiscovery"): "V2G2-573",
    ("DC", "ChargeParameterDiscovery"): "V2G2-573",
    ("DC", "CableCheck"): "V2G2-582",
    ("DC", "PreCharge"): "V2G2-584",
    ("AC", "PowerDelivery"): "V2G2-565",
    ("DC", "PowerDelivery"): "V2G2-587",
    ("AC", "ChargingStatus"): "V2G2-576",
    ("DC", "CurrentDemand"): "V2G2-590",
    ("DC", "WeldingDetection"): "V2G2-601",
    ("AC", "SessionStop"): "V2G2-568",
    ("DC", "SessionStop"): "V2G2-601",
}
"""Scope and message -> the requirement by which it may follow the response before."""


def _allowed(row: Row) -> tuple[str, ...]:
    """Return the requirement by which a correct request must be answered."""
    if row.template != "good":
        return ()
    if row.message == "Authorization" and row.pay:
        return ("V2G2-560",)
    if row.message == "SessionSetup":
        return ("V2G2-750",)
    if row.goal in (State.AC_CHARGE_LOOP, State.DC_CHARGE_LOOP) and row.message == "PowerDelivery":
        return ("V2G2-593",)
    return (_ALLOWED[row.scope, row.message],)


_REFUSED: Final = {"sequence": "FAILED_SequenceError", "session": "FAILED_UnknownSession"}


def cases_of(words: Words, family: Family) -> Iterator[Case]:
    """Yield the cases of the table for an edition and a family."""
    for row in ROWS:
        if row.scope not in ("CMN", family.value):
            continue
        if words.edition == "din" and (not row.din or row.pay):
            continue
        request = words.requests.get(row.message, row.message) + "Req"
        do, expect, required = _done(row, request, words)
        iso = published_id(row.scope, row.message, row.number)
        din = words.edition == "din"
        own = tuple(each for each in row.requirements if each.startswith("V2G-DC") == din)
        script = Script(
            goal=row.goal, do=do, expect=expect, pay=row.pay, detour=row.detour, pilot=row.pilot, resume=row.resume,
            installs=row.installs,
        )  # fmt: skip
        yield Case(
            id=f"SECC-{request[:-3]}-DIN-{_word(row)}" if din else iso,
            published=(iso,),
            title=row.title or _title(row, request),
            required=required,
            requirements=own or words.requirements[row.template] or (() if din else _allowed(row)),
            open=row.open,
            family=family,
            quick=row.quick,
            needs=_needs(row),
            scripts=(*row.first, script),
        )


_NEEDS: Final[Mapping[str, str]] = {
    "CertificateInstallation": "certificate_installation",
    "CertificateUpdate": "certificate_update",
    "WeldingDetection": "welding_detection",
    "added service": "value_added_services",
    "with added services": "value_added_services",
    "internet": "internet_access",
    "renegotiate": "renegotiation",
    "sends MeterInfo": "meter_info",
    "sends MeterReading": "meter_reading",
}
"""Message, change or fact of a row -> the feature that ISO 15118-4 makes its condition."""


def _needs(row: Row) -> tuple[str, ...]:
    """Return the features without which a row does not apply."""
    detour = row.detour.request.removesuffix("Req") if row.detour is not None else ""
    about = (row.message, detour, *([row.change] if row.template == "good" else ()), *row.facts)
    found = [_NEEDS[each] for each in about if each in _NEEDS]
    if row.pay:
        found.insert(0, "contracts")
    if row.resume:
        found.append("pause")
    if row.goal in RENEGOTIATED or row.detour is _RENEGOTIATING:
        found.append("renegotiation")
    return tuple(found)


def _done(row: Row, request: str, words: Words) -> tuple[Ask | Silence, Expect, str]:
    """Return what is done at the goal, the expected reaction, and its description."""
    answer = f"{request[:-3]}Res"
    if row.template == "silence":
        # SessionSetup, and in DIN 70121 pre-charge and welding detection (V2G-DC-969, -926), have other limits as well
        sooner = words.edition == "din" and (row.goal is State.DC_PRE_CHARGE_ONGOING or row.detour is _WELDED)
        sooner = sooner or row.goal is State.SESSION_SETUP
        within = (0.0, _SEQUENCE_S + _LATE_S) if sooner else _after(_SEQUENCE_S)
        return Silence(within[1] + 1.0), Expect(within=within), f"the charger closes after {_SEQUENCE_S:g} s"
    if row.template == "sequence":
        other = "Authorization" if row.message == "ServiceDiscovery" else "ServiceDiscovery"
        other = words.requests.get(other, other)
        code = _REFUSED["sequence"]
        return Ask(f"{other}Req"), _failed(code), f"{other}Res with {code}, then the connection is closed within 5 s"
    if row.template == "session":
        code = _REFUSED["session"]
        do = Ask(request, f"{row.change} + other session" if row.change else "other session")
        return do, _failed(code), f"{answer} with the valid SessionID and {code}, then closed within 5 s"
    codes = words.codes_for(row.code)
    if row.template == "refused":
        return Ask(request, row.change), _failed(*codes), f"{answer} with {' or '.join(codes)}, then closed within 5 s"
    clean = (_FOREIGN, f"{WRONG}*", "gives a SessionID of zeros") if row.message == "SessionSetup" else _CLEAN
    if codes == ("OK",) and row.message == "PaymentDetails":
        codes = ("OK*",)  # or OK_CertificateExpiresSoon
    issued = row.message in ("CertificateInstallation", "CertificateUpdate")
    unless = ("FAILED_NoCertificateAvailable",) if issued else ()
    expect = Expect(codes=codes, facts=(*row.facts, DELIVERS) if issued else row.facts, no_facts=(*clean, UNFINISHED))
    finished_s = _FINISHED_S.get(row.message, 0.0)
    finished = f", repeated until it has finished, within {finished_s:g} s" if finished_s else ""
    required = f"{answer} with {' or '.join(codes)} and valid fields{finished}"
    return Ask(request, row.change, finished_s, unless), expect, required


def _failed(*codes: str) -> Expect:
    return Expect(codes=codes, within=CLOSES, no_facts=(_FOREIGN,))


def _after(seconds: float) -> tuple[float, float]:
    return seconds, seconds + _LATE_S


def _title(row: Row, request: str) -> str:
    where = f" in {row.goal.value}"
    paid = ", payment by contract" if row.pay == "PnC" else ""
    welded = ", after WeldingDetection" if row.detour is _WELDED else ""
    match row.template:
        case "sequence":
            return f"Another request instead of {request}{where}{paid}{welded}"
        case "session":
            return f"{request} with another SessionID{where}{paid}{welded}"
        case "silence":
            return f"Silence instead of {request}{where}{paid}{welded}"
    return f"{request}{f': {row.change}' if row.change else ''}{where}{paid}{welded}"


def _word(row: Row) -> str:
    """Return the last part of the id of a case that ISO 15118-4 does not name."""
    word = row.change.replace(" ", "_") if row.template in ("good", "refused") and row.change else row.template
    place = "-welded" if row.detour is _WELDED else ""
    place += f"-{row.goal.value}" if row.message == "PowerDelivery" and row.template != "refused" else ""
    return f"{word}{place}{f'-pilot_{row.pilot}' if row.pilot else ''}"


# -- whole sessions, their times, and the first bytes -------------------------------------------------------------

HEADERS: Final[Mapping[str, str]] = {
    "001": "",
    "002": "length 0",
    "003": "payload type 7001",
    "004": "version FF",
    "005": "inverse version FF",
}
"""Number of the case about the V2GTP header of SessionSetupReq -> name of its fault."""


def around(words: Words, family: Family, methods: tuple[str, ...]) -> Iterator[Case]:
    """Yield the cases about the handshake and V2GTP headers, whole sessions and their times."""
    din = words.edition == "din"

    def case(group: str, number: str, title: str, required: str, script: Script, **more: object) -> Case:
        iso = published_id("CMN", group, int(number))
        return Case(
            id=f"SECC-{group}-DIN-{number}" if din else iso, published=(iso,), title=title,
            required=required, family=family, scripts=(script,), **more,  # type: ignore[arg-type]
        )  # fmt: skip

    sap, begun = State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP
    ask = "SupportedAppProtocolReq"
    agreed = Expect(codes=("OK_SuccessfulNegotiation*",), facts=("SchemaID 1",))
    for number, transport in (("004", "TCP"),) if din else (("001", "TLS"), ("004", "TCP")):
        yield case("SupportedAppProtocol", number, f"The namespace of {words.title} over {transport}",
                   "OK with its SchemaID", Script(goal=sap, do=Ask(ask), expect=agreed),
                   requirements=("V2G2-169",), transport=transport)  # fmt: skip
    yield case("SupportedAppProtocol", "002", "Only an unsupported protocol",
               "Failed_NoNegotiation, then closed within 5 s",
               Script(goal=sap, do=Ask(ask, "unknown protocol"),
                      expect=Expect(codes=("Failed_NoNegotiation",), within=CLOSES)),
               requirements=("V2G2-172",))  # fmt: skip
    deviation = "OK_SuccessfulNegotiationWithMinorDeviation"
    yield case("SupportedAppProtocol", "006", "A minor version that is not the charger's", deviation,
               Script(goal=sap, do=Ask(ask, "other minor version"),
                      expect=Expect(codes=(deviation,), facts=("SchemaID 1",))))  # fmt: skip
    late = f"the charger closes, after {_SEQUENCE_S:g} s at the latest"
    yield case("SupportedAppProtocol", "003", "Silence instead of SupportedAppProtocolReq", late,
               Script(goal=sap, do=Silence(_SEQUENCE_S + 2 * _LATE_S),
                      expect=Expect(within=(0.0, _SEQUENCE_S + _LATE_S))),
               requirements=words.requirements["silence"], quick=False)  # fmt: skip
    yield case("SessionSetup", "004", "Silence after SupportedAppProtocolRes",
               f"the charger closes when CommunicationSetup has passed, after {_SETUP_S:g} s at the latest",
               Script(goal=begun, do=Silence(_SETUP_S + 2 * _LATE_S),
                      expect=Expect(within=(0.0, _SETUP_S + _LATE_S))),
               requirements=("V2G2-714", "V2G2-716", "V2G2-723"), quick=False)  # fmt: skip
    good = Script(
        goal=begun, do=Ask("SessionSetupReq"), expect=Expect(codes=words.codes_for("OK_NewSessionEstablished"))
    )
    yield case("V2GTPSessionSetup", "001", "SessionSetupReq with a correct V2GTP header",
               "SessionSetupRes with a correct header", good)  # fmt: skip
    for number, form in HEADERS.items():
        if form:
            yield case("V2GTPSessionSetup", number, f"V2GTP header of SessionSetupReq: {form}",
                       "no response, and the next request is answered",
                       Script(goal=begun, do=Malformed(form, again=True),
                              expect=Expect(answered=False, closes=False, facts=(SERVES,))),
                       quick=number == "004")  # fmt: skip
    name = "DIN" if din else f"2-{family.value}"
    for method in methods:
        yield Case(
            id=f"SECC-RUN-{name}-{method}", title=f"A complete session of {words.title}, {method}",
            required="every request is answered by its response with OK, to the end", family=family,
            requirements=words.requirements["good"],
            needs=("contracts" if method == "PnC" else "external_payment",),
            scripts=(Script(goal=State.ENDED, pay=method, expect=Expect(reaches=True, no_facts=_CLEAN)),),
        )  # fmt: skip
    if "PnC" in methods:
        fresh = Script(goal=State.AUTHORIZATION, pay="PnC", expect=Expect(reaches=True, no_facts=(CHALLENGED,)))
        yield Case(
            id=f"SECC-AUT-{name}-challenge", title="The challenges of two sessions, payment by contract",
            required="a new challenge each time", family=family, needs=("contracts",), scripts=(fresh, fresh),
        )  # fmt: skip
    yield Case(
        id=f"SECC-END-{name}-terminate", title="The vehicle does not close after SessionStopRes",
        required="the charger closes the connection within 5 s", family=family,
        scripts=(Script(goal=State.ENDED, expect=Expect(closes=True, within=(0.0, CLOSES[1] + _LATE_S))),),
    )  # fmt: skip
    for request in _of_a_session(words, family):
        most = words.messages[request].performance
        yield Case(
            id=f"SECC-TIM-{name}-{request}", title=f"Response time of {request}", required=f"within {most:g} s",
            family=family, quick=False,
            scripts=(Script(goal=State.ENDED, expect=Expect(timely=(request, most))),),
        )  # fmt: skip


def _of_a_session(words: Words, family: Family) -> tuple[str, ...]:
    """Return the requests of a whole session with external payment."""
    energy = ("ChargingStatus",) if family is Family.AC else ("CableCheck", "PreCharge", "CurrentDemand")
    names = ("SessionSetup", "ServiceDiscovery", "PaymentServiceSelection", "Authorization", "ChargeParameterDiscovery",
             "PowerDelivery", *energy, "SessionStop")  # fmt: skip
    return ("SupportedAppProtocolReq", *(f"{words.requests.get(each, each)}Req" for each in names))


def probes(words: Words) -> Iterator[Case]:
    """Yield the cases about SDP."""
    found = ("address is not link-local", "port outside 49152 to 65535", TWICE, "malformed*")

    def case(
        group: str, number: int, form: str, title: str, required: str, transport: str = "",
        needs: tuple[str, ...] = (), **expect: object,
    ) -> Case:  # fmt: skip
        iso = published_id("CMN", group, number)
        din = words.edition == "din"
        return Case(
            id=f"SECC-{group}-DIN-{number:03}" if din else iso, published=(iso,), title=title,
            required=required, transport=transport, needs=needs, probe=f"sdp:{form}",
            requirements=("V2G-DC-618",) if din and transport else (), expect=Expect(**expect),  # type: ignore[arg-type]
        )  # fmt: skip

    plain, tls = "a response: no TLS, TCP, a link-local address", "a response: TLS, TCP, a link-local address"
    without = {"facts": (ANSWERED, "security NONE", "transport TCP"), "no_facts": found}
    secured = {"facts": (ANSWERED, "security TLS", "transport TCP"), "no_facts": found}
    yield case("SDP", 1, "without-tls", "A request without TLS", plain, "TCP", **without)
    if words.edition != "din":
        yield case("SDP", 2, "tls", "A request for TLS, before external payment", tls, "TLS",
                   ("external_payment",), **secured)  # fmt: skip
        yield case("SDP", 3, "tls", "A request for TLS, before payment by contract", tls, "TLS", ("contracts",),
                   **secured)  # fmt: skip
    yield case("SDP", 7, "tls", "A request for TLS of a charger that has none", plain, "TCP", ("not tls",), **without)
    yield case("V2GTPSDP", 1, "without-tls", "A correct request", "a response with a correct header", facts=(ANSWERED,))
    for number, form, title in (
        (2, "length-0", "length 0"),
        (3, "type-7000", "payload type 7000"),
        (4, "version-ff", "version FF"),
        (5, "inverse-ff", "inverse version FF"),
    ):
        yield case("V2GTPSDP", number, form, f"V2GTP header of the request: {title}", "no response", facts=(SILENT,))


EDITION_2: Final = Words(
    edition="2",
    title="ISO 15118-2",
    messages=MESSAGES_2,
    requirements={
        "good": (),
        "sequence": ("V2G2-459", "V2G2-538", "V2G2-539"),
        "session": ("V2G2-460",),
        "silence": ("V2G2-443", "V2G2-536", "V2G2-537"),
        "refused": (),
    },
)
EDITION_DIN: Final = Words(
    edition="din",
    title="DIN 70121",
    messages=MESSAGES_DIN,
    requests={"PaymentServiceSelection": "ServicePaymentSelection", "Authorization": "ContractAuthentication"},
    codes={
        "OK_NewSessionEstablished": "OK_NewSessionEstablished|OK",  # no public text of it demands one; an ABB sends OK
        "FAILED_NoChargeServiceSelected": "FAILED_ServiceSelectionInvalid",
        "FAILED_WrongEnergyTransferMode": "FAILED_WrongEnergyTransferType",
    },
    requirements={
        "good": (),
        "sequence": ("V2G-DC-390", "V2G-DC-391", "V2G-DC-665"),
        "session": ("V2G-DC-390", "V2G-DC-391", "V2G-DC-665"),
        "silence": ("V2G-DC-432",),
        "refused": (),
    },
)

_METHODS: Final = {"2": ("EIM", "PnC"), "din": ("EIM",)}


def secc_cases(words: Words, family: Family) -> tuple[Case, ...]:
    """Return every case for a charger of an edition with this message set, in the order of execution."""
    return (*probes(words), *around(words, family, _METHODS[words.edition]), *cases_of(words, family))
