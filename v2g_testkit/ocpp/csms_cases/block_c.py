"""Functional block C, authorization: cases for back ends."""

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from v2g.ocpp.messages.transactions import TransactionLimit
from v2g.ocpp.times import parse_time
from v2g.ocpp.web_payment import VERSION, QrCode, address
from v2g_testkit.ocpp.case import Block, Inconclusive, NotApplicable, Payload, given, precondition
from v2g_testkit.ocpp.csms_cases.block_i import calculating, details, same_cost
from v2g_testkit.ocpp.csms_cases.transaction import Transaction
from v2g_testkit.ocpp.csms_tester import CsmsTest
from v2g_testkit.ocpp.declaration import CsmsDeclaration, Token
from v2g_testkit.ocpp.operator import PAYMENT, WEB_PAYMENT

C: Final[Block[CsmsTest]] = Block(booted=True)


# -- tokens


def _token_case(
    id: str,  # noqa: A002 - as in every case
    title: str,
    token_of: Callable[[CsmsDeclaration], Token],
    statuses: tuple[str, ...],
    requirements: tuple[str, ...],
) -> None:
    @C.case(
        id, title, required=f"The back end answers Authorize with {' or '.join(statuses)}.", quick=True,
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        _has_status(t, await t.authorize(token_of(t.declared)), statuses, requirements[0])


def _has_status(t: CsmsTest, info: Payload, statuses: tuple[str, ...], requirement: str) -> None:
    t.check(info["status"] in statuses, requirement, f"answers {info['status']}, not {' or '.join(statuses)}")


_token_case(
    "TC_C_02_CSMS", "Token that the back end does not know", lambda declared: declared.unknown_token,
    ("Invalid", "Unknown"), ("C01.FR.07", "C04.FR.01", "C06.FR.04"),
)  # fmt: skip
_token_case(
    "TC_C_06_CSMS", "Blocked token", lambda declared: declared.blocked_token, ("Blocked", "Invalid"), ("C01.FR.07",)
)
_token_case(
    "TC_C_07_CSMS", "Expired token", lambda declared: declared.expired_token, ("Expired", "Invalid"), ("C01.FR.07",)
)
_token_case("V2G-C-01-CSMS", "Valid token", lambda declared: declared.token, ("Accepted",), ("C01.FR.07",))
_token_case(
    "V2G-C-04-CSMS", "Valid token whose letters are of the other case",
    lambda declared: Token(declared.token.id.swapcase(), declared.token.type), ("Accepted",), ("IdTokenType",),
)  # fmt: skip


def _cached_case(
    id: str,  # noqa: A002
    title: str,
    token_of: Callable[[CsmsDeclaration], Token],
    statuses: tuple[str, ...],
    requirement: str,
) -> None:
    @C.case(id, title, requirements=(requirement, "E05.FR.01"))
    async def script(t: CsmsTest) -> None:
        """The back end judges the token of a TransactionEvent, which the station took from its cache."""
        token = token_of(t.declared)
        transaction = Transaction(t, token=token)
        await given(transaction.plugged())
        answer = await transaction.event("Updated", "Authorized", token=token)
        _has_status(t, answer["idTokenInfo"], statuses, requirement)


_cached_case("TC_C_08_CSMS", "Valid token from the cache", lambda declared: declared.token, ("Accepted",), "C12.FR.03")
_cached_case(
    "TC_C_20_CSMS", "Unknown token from the cache", lambda declared: declared.unknown_token, ("Invalid", "Unknown"),
    "C12.FR.03",
)  # fmt: skip
_cached_case(
    "V2G-C-02-CSMS", "Blocked token from the cache", lambda declared: declared.blocked_token, ("Blocked", "Invalid"),
    "E05.FR.01",
)  # fmt: skip


# -- the cache


def _clear_cache(id: str, status: str) -> None:  # noqa: A002
    @C.case(id, f"Clear cache, answered {status}", also="C11", needs=("clear cache",))
    async def script(t: CsmsTest) -> None:
        """The back end sends ClearCache, and continues after the answer."""
        t.answer("ClearCache", {"status": status})
        await t.asked("ClearCache", "C11")
        await t.call("Heartbeat")


_clear_cache("TC_C_37_CSMS", "Accepted")
_clear_cache("TC_C_38_CSMS", "Rejected")


# -- groups


def _in_group(t: CsmsTest, info: Payload, group: str, requirement: str) -> None:
    _has_status(t, info, ("Accepted",), requirement)
    found = info.get("groupIdToken", {}).get("idToken")
    t.check(found == group, requirement, f"answers the group {found!r} instead of {group!r}")


@C.case("TC_C_39_CSMS", "Stop by another token of the group", also="C09.FR.02", needs=("token groups",))
async def stop_by_group(t: CsmsTest) -> None:
    """The back end answers the group of each token, and accepts that another member stops the transaction."""
    declared = t.declared
    transaction = Transaction(t)
    await given(transaction.plugged())
    _in_group(t, await t.authorize(declared.group_token), declared.group, "C09.FR.09")
    started = await transaction.event("Updated", "Authorized", token=declared.token)
    _in_group(t, started["idTokenInfo"], declared.group, "E01.FR.12")
    await transaction.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")
    _in_group(t, await t.authorize(declared.group_token), declared.group, "C09.FR.09")
    stopped = await transaction.event("Updated", "StopAuthorized", token=declared.group_token)
    _in_group(t, stopped["idTokenInfo"], declared.group, "C09.FR.03")
    await transaction.post_session()
    await transaction.unplugged()


def _local_list_case(id: str, title: str, *, authorizes: bool) -> None:  # noqa: A002
    @C.case(
        id, title, requirements="C09.FR.02 C09.FR.03 E01.FR.12", profiles=("Local Authorization List Management",),
        needs=("token groups",),
    )  # fmt: skip
    async def script(t: CsmsTest) -> None:
        """The back end answers the group of tokens that the station found in its local list."""
        declared = t.declared
        transaction = Transaction(t)
        await given(transaction.plugged())
        started = await transaction.event("Updated", "Authorized", token=declared.token)
        _in_group(t, started["idTokenInfo"], declared.group, "E01.FR.12")
        await transaction.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")
        if authorizes:
            _in_group(t, await t.authorize(declared.group_token), declared.group, "C09.FR.09")
        stopped = await transaction.event("Updated", "StopAuthorized", token=declared.group_token)
        _in_group(t, stopped["idTokenInfo"], declared.group, "C09.FR.03")
        await transaction.post_session()
        await transaction.unplugged()


_local_list_case("TC_C_40_CSMS", "Stop by another token of the group, both in the local list", authorizes=False)
_local_list_case("TC_C_43_CSMS", "Stop by a token of the group that is invalid in the local list", authorizes=True)


# -- the master pass


def _master_pass(id: str, title: str, evses: tuple[int, ...], requirement: str) -> None:  # noqa: A002
    @C.case(id, title, requirements=(requirement, "E01.FR.12"), needs=("master pass",))
    async def script(t: CsmsTest) -> None:
        """The back end answers the group of the master pass, and accepts the ends of the transactions."""
        declared = t.declared
        with precondition():
            going = {1: Transaction(t), 2: Transaction(t, evse=2, token=declared.group_token)}
            for each in going.values():
                await each.started()
        _in_group(t, await t.authorize(declared.master_token), declared.master_group, "C09.FR.09")
        for evse in evses:
            token = declared.master_token
            ended = await going[evse].event("Ended", "StopAuthorized", token=token, stopped="MasterPass")
            _in_group(t, ended["idTokenInfo"], declared.master_group, "E01.FR.12")


_master_pass("TC_C_47_CSMS", "Master pass stops all transactions by a user interface", (1, 2), "C16.FR.01")
_master_pass("TC_C_48_CSMS", "Master pass stops one transaction by a user interface", (2,), "C16.FR.01")
_master_pass("TC_C_49_CSMS", "Master pass without a user interface", (1, 2), "C16.FR.02")


@C.case("V2G-C-03-CSMS", "Master pass does not start a transaction", needs=("master pass",))
async def master_pass_starts_nothing(t: CsmsTest) -> None:
    """The back end does not accept a transaction of the master pass."""
    token = t.declared.master_token
    answer = await Transaction(t, token=token).event("Started", "Authorized", token=token)
    t.check(answer["idTokenInfo"]["status"] != "Accepted", "C16.FR.03", "accepts a transaction of the master pass")


# -- Functional block C, prepaid accounts, payments at terminals and on the web: cases for back ends, all of OCPP 2.1

C_21: Final[Block[CsmsTest]] = Block(versions=("2.1",), needs=("prepaid accounts",), booted=True)
C_WEB: Final = C_21.having(needs=("payments on the web",))
C_TERMINALS: Final = C_21.having(needs=("payment terminals",))

_LIMIT: Final = {"maxCost": 20.0}


@C_21.case("TC_C_103_CSMS", "Prepaid account with a balance")
async def prepaid(t: CsmsTest) -> None:
    """The back end accepts the token, for now only, and limits the cost of its transaction, once."""
    token = t.declared.prepaid_token
    await _prepaid(t, token, "Accepted", "C17.FR.01")
    transaction = Transaction(t, token=token)
    answer = await transaction.event("Started", "Authorized", token=token)
    most = answer.get("transactionLimit", {}).get("maxCost", 0)
    t.check(most > 0, "C17.FR.03", "answers the first event without the cost that is left")
    await transaction.plugged()
    answer = await transaction.event("Updated", "StopAuthorized", state="EVConnected", token=token)
    t.check("transactionLimit" not in answer, "C17.FR.03", "limits the transaction twice")
    await transaction.unplugged()


@C_21.case("TC_C_104_CSMS", "Prepaid account without a balance")
async def no_credit(t: CsmsTest) -> None:
    """The back end answers NoCredit, for now only."""
    await _prepaid(t, t.declared.no_credit_token, "NoCredit", "C17.FR.02")


async def _prepaid(t: CsmsTest, token: Token, status: str, requirement: str) -> None:
    info = await t.authorize(token)
    t.check(info["status"] == status, requirement, f"answers {info['status']} instead of {status}")
    t.check("cacheExpiryDateTime" in info, requirement, "answers without cacheExpiryDateTime: stations may cache it")
    t.is_now(info["cacheExpiryDateTime"], requirement)


@C_TERMINALS.case("TC_C_108_CSMS", "VAT number")
async def vat_number(t: CsmsTest) -> None:
    """The back end answers with the number and the EVSE that it was asked about, and rejects what is no number."""
    for number in ("NL123456789B01", "NL1"):
        answer = await t.call("VatNumberValidation", vatNumber=number, evseId=1)
        t.check(answer["vatNumber"] == number, "C18.FR.09", f"answers about {answer['vatNumber']}")
        t.check(answer.get("evseId") == 1, "C18.FR.10", f"answers with the EVSE {answer.get('evseId')}")
    t.equal(answer["status"], "Rejected", "C18.FR.09", "answers {} to NL1")


# -- terminals of stations


def _data(component: str, values: Mapping[str, str]) -> list[Payload]:
    """Return the values of variables as SetVariables has them."""
    return [
        {"component": {"name": component}, "variable": {"name": name}, "attributeValue": value}
        for name, value in values.items()
    ]


def _payment() -> Token:
    """Return a new payment, as a token."""
    return Token(uuid.uuid4().hex, "DirectPayment")


async def _sets(t: CsmsTest, variable: str) -> None:
    """Have the back end set a variable of the terminal. Raises Failed."""
    await t.asked("SetVariables", "B05.FR.01", setVariableData=_data("PaymentCtrlr", {variable: "true"}))


async def _paid(t: CsmsTest) -> Transaction:
    """Begin a transaction that was paid for at the terminal of the station."""
    payment = _payment()
    transaction = Transaction(t, token=payment)
    with precondition():
        await transaction.authorize()
        info = {"transactionLimit": _LIMIT}
        transaction.accepted(await transaction.event("Started", "Authorized", token=payment, info=info))
    return transaction


async def _charged(t: CsmsTest, transaction: Transaction, **more: Any) -> Payload:
    """Charge and leave; return the answer to the last event."""
    await transaction.plugged()
    await transaction.event("Updated", "ChargingStateChanged", state="Charging", context="Sample.Periodic")
    transaction.wh += 500
    await t.connector("Available")
    more = {"context": "Transaction.End", **more}
    return await transaction.event("Ended", "EVCommunicationLost", state="Idle", stopped="EVDisconnected", **more)


async def _settles(t: CsmsTest, transaction: Transaction, status: str, amount: float) -> Payload:
    return await t.call(
        "NotifySettlement",
        pspRef=transaction.token.id,
        transactionId=transaction.id,
        status=status,
        settlementAmount=amount,
        settlementTime=t.now(),
    )


@C_TERMINALS.case("TC_C_113_CSMS", "Payment is cancelled after the start", also="C20.FR.05")
async def cancelled(t: CsmsTest) -> None:
    """The back end answers the last event with a cost of 0, and takes the report that nothing was settled."""
    transaction = await _paid(t)
    answer = await transaction.event("Ended", "EVConnectTimeout", stopped="Timeout")
    t.check(answer.get("totalCost") == 0, "C20.FR.03", f"answers with a cost of {answer.get('totalCost')}")
    await _settles(t, transaction, "Canceled", 0.0)


@C_21.case("TC_C_117_CSMS", "Payment that the back end settles", also="C21.FR.05", needs=("payment terminals", "costs"))
async def settled_centrally(t: CsmsTest) -> None:
    """The back end sets that it settles payments, and answers the last event with the cost that it settles."""
    await _sets(t, "SettlementByCSMS")
    answer = await _charged(t, await _paid(t))
    t.check("totalCost" in answer, "I03.FR.02", "answers the last event without totalCost")


@C_21.case(
    "TC_C_118_CSMS", "Receipt of the back end for what the terminal has settled", also="C21.FR.02",
    needs=("payment terminals", "receipts"),
)  # fmt: skip
async def receipt(t: CsmsTest) -> None:
    """The back end answers the report with the address of the receipt."""
    await _sets(t, "ReceiptByCSMS")
    transaction = await _paid(t)
    await _charged(t, transaction)
    answer = await _settles(t, transaction, "Settled", 2.5)
    t.check("receiptUrl" in answer, "C21.FR.03", "answers without receiptUrl")


def _case_of_settlement(number: int, status: str, requirement: str) -> None:
    @C_TERMINALS.case(f"TC_C_{number}_CSMS", f"Settlement is {status.lower()}", requirements=(requirement,))
    async def script(t: CsmsTest) -> None:
        """The back end takes the report."""
        transaction = await _paid(t)
        await _charged(t, transaction)
        await _settles(t, transaction, status, 2.5)


_case_of_settlement(119, "Failed", "C22.FR.02")
_case_of_settlement(120, "Rejected", "C22.FR.01")


# -- terminals beside stations, and the web


def _step(payment: Token, **more: object) -> Payload:
    return {"pspRef": payment.id, "transactionLimit": _LIMIT, **more}


async def _begins(t: CsmsTest, sent: Payload, payment: Token, requirement: str) -> Transaction:
    """Begin the transaction of a remote start. Raises Failed unless the back end limits it."""
    transaction = Transaction(t, token=payment)
    info = {"remoteStartId": sent["remoteStartId"]}
    answer = await transaction.event("Started", "RemoteStart", token=payment, info=info)
    most = answer.get("transactionLimit", {}).get("maxCost")
    t.check(most == _LIMIT["maxCost"], requirement, f"limits the cost to {most} instead of {_LIMIT['maxCost']}")
    return transaction


async def _paid_beside(t: CsmsTest) -> Transaction:
    """Begin a transaction that was paid for at a terminal beside the station. Raises Failed."""
    payment = _payment()
    by = PAYMENT, _step(payment, evseId=1)
    sent = await t.asked("RequestStartTransaction", "C24.FR.01", by=by, idToken=payment.payload, evseId=1)
    return await _begins(t, sent, payment, "C24.FR.02")


@C_21.case(
    "TC_C_125_CSMS", "Terminal beside stations, costs calculated by the back end", also="C24.FR.01 C24.FR.02",
    needs=("terminals beside stations", "costs"),
)  # fmt: skip
async def beside_central(t: CsmsTest) -> None:
    """The back end starts a transaction by the payment, limits its cost, and answers the last event with it."""
    answer = await _charged(t, await _paid_beside(t))
    t.check("totalCost" in answer, "I03.FR.02", "answers the last event without totalCost")


@C_21.case(
    "TC_C_126_CSMS", "Terminal beside stations, costs calculated by the station", also="C24.FR.01 C24.FR.02 I03.FR.02",
    needs=("terminals beside stations", "tariffs"),
)  # fmt: skip
async def beside_local(t: CsmsTest) -> None:
    """The back end starts a transaction by the payment, limits its cost, and tells the station's cost only."""
    tariff = await calculating(t)
    costs = details(t, tariff, 2.0, energy_wh=500)
    answer = await _charged(t, await _paid_beside(t), info={"tariffId": tariff}, costDetails=costs)
    same_cost(t, answer, 2.0)


_TEMPLATE: Final = "https://pay.example/{chargingstationid}/{evse}/{totp}/{version}"


async def _codes(t: CsmsTest) -> QrCode:
    """Return how the station makes its QR codes, set by the back end. Raises Failed, NotApplicable, Inconclusive."""
    wanted = {
        "URLTemplate": _TEMPLATE, "TOTPVersion": VERSION, "ValidityTime": "300", "Length": "8",
        "SharedSecret": "chosen by the back end", "Enabled": "true",
    }  # fmt: skip
    await t.operate("SetVariables", setVariableData=_data("WebPaymentsCtrlr", wanted))
    found = {name: t.value("WebPaymentsCtrlr", name) or "" for name in wanted}
    for name in ("URLTemplate", "ValidityTime", "Length", "SharedSecret"):
        if not found[name]:
            raise Inconclusive(f"the back end does not set {name} of WebPaymentsCtrlr")
    template, validity, length = found["URLTemplate"], found["ValidityTime"], found["Length"]
    if "{roamingevseid}" in template:
        raise NotApplicable("the addresses of its QR codes lead to another party")
    for place in ("{chargingstationid}", "{totp}", "{version}"):
        t.check(place in template, "C25.FR.50", f"sets the template {template} without {place}")
    for number in (validity, length):
        t.check(number.isdecimal() and int(number) > 0, "C25.FR.01", f"sets a ValidityTime or Length of {number}")
    return QrCode(template=template, shared_secret=found["SharedSecret"], validity_s=int(validity), length=int(length))


def _address(t: CsmsTest, code: QrCode, *, ago_s: int = 0, **places: str) -> str:
    """Return the address in a QR code of EVSE 1, for a driver who wants 5 kWh."""
    own = {"chargingstationid": t.declared.station.identity, "evse": "1"}
    at_ms = parse_time(t.now()) - ago_s * 1000
    return address(code, own | places, at_ms, TransactionLimit(max_energy=5000.0))


async def _pays_at(t: CsmsTest, code: QrCode, *wrong: str) -> None:
    """Open these addresses, then the right one, and pay. Raises Failed unless only the last begins a transaction."""
    t.forget("RequestStartTransaction")
    for url in wrong:
        await t.operate(WEB_PAYMENT, **_step(_payment(), url=url))
    payment = _payment()
    await t.operate(WEB_PAYMENT, **_step(payment, url=_address(t, code)))
    sent = await t.expect("RequestStartTransaction", "C25.FR.23")
    if wrong:
        t.check(sent["idToken"]["idToken"] == payment.id, "C25.FR.08", "starts a transaction for a wrong address")
    t.check(sent["idToken"] == payment.payload, "C25.FR.23", f"starts with the token {sent['idToken']}")
    if "{evse}" in code.template:
        t.check(sent.get("evseId") == 1, "C25.FR.23", f"starts at EVSE {sent.get('evseId')} instead of 1")
    await _charged(t, await _begins(t, sent, payment, "C25.FR.24"))


@C_WEB.case("TC_C_131_CSMS", "QR code", also="C25.FR.07 C25.FR.09 C25.FR.23 C25.FR.24 C25.FR.50 C25.FR.59")
async def qr_code(t: CsmsTest) -> None:
    """The back end sets how codes are made, and starts a transaction by the payment of a driver who scans one."""
    await _pays_at(t, await _codes(t))


@C_WEB.case("TC_C_132_CSMS", "QR code with wrong parameters", also="C25.FR.09 C25.FR.23")
async def wrong_parameters(t: CsmsTest) -> None:
    """The back end starts no transaction by an address that names no station or EVSE."""
    code = await _codes(t)
    wrong = [_address(t, code, chargingstationid="CS-V2G-NONE")]
    if "{evse}" in code.template:
        wrong.append(_address(t, code, evse="one"))
    await _pays_at(t, code, *wrong)


@C_WEB.case("TC_C_133_CSMS", "QR code with a wrong or old one-time password", also="C25.FR.07 C25.FR.08 C25.FR.23")
async def wrong_password(t: CsmsTest) -> None:
    """The back end starts no transaction by such an address."""
    code = await _codes(t)
    other = msgspec.structs.replace(code, shared_secret=f"not {code.shared_secret}")
    await _pays_at(t, code, _address(t, other), _address(t, code, ago_s=10 * code.validity_s))
