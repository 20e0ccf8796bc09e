"""Payments for one session: their states, and the decision about one that nobody else can settle."""

from typing import Annotated

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.direct_payments import store as rows
from csms.direct_payments.rules import DirectPayment, PaymentState
from csms.direct_payments.work import report
from csms.http.call import Call
from csms.http.operations import Page, get, post
from csms.http.parameters import Money, Paged, RowNumber, money_of, newest_first, shown
from csms.http.problems import ApiError, conflict
from v2g.typed_json import Fields
from v2g.units import PositiveDecimals, micro_of, payable_micro


class ShownPayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment at an EVSE: `amount` is reserved, `captured` of it taken; `reference` is the provider's.

    `held`: the session has a cost in another currency, which `reason` names: settle it.
    """

    id: int
    station_id: str
    evse_id: int
    amount: Money
    captured: Money
    state: PaymentState
    reference: str
    transaction_id: str
    reason: str
    created_ms: int
    changed_ms: int


class WhichPayments(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for payments."""

    state: Annotated[PaymentState | None, msgspec.Meta(description="Only in this state.")] = None


class PaymentDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much to take of what is reserved, in its currency, 0 for nothing, and why."""

    amount: PositiveDecimals
    note: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


@get("/payments/direct", Permission.READ_SETTLEMENTS)
async def list_direct_payments(call: Call, parameters: WhichPayments) -> Page[ShownPayment]:
    """List payments for one session, newest first."""

    def fetch(connection: Connection, before: int | None, limit: int) -> list[Fields]:
        return [_shown(each) for each in rows.list_page(connection, before, limit, parameters.state)]

    return await newest_first(call, parameters, ShownPayment, "id", fetch)


@post(
    "/payments/direct/{payment_id}/settle",
    Permission.CORRECT_SETTLEMENTS,
    problems=(404, 409),
    example={"amount": "12.50", "note": "310 CZK at the rate of the day"},
)
async def settle_direct_payment(call: Call, payment_id: RowNumber, body: PaymentDecision) -> ShownPayment:
    """Take a part of what is reserved by a payment that is held, and have the rest released."""
    number, amount = payment_id, micro_of(body.amount)

    def read(connection: Connection) -> DirectPayment | None:
        return rows.payment(connection, number)

    def write(connection: Connection, known: DirectPayment) -> None:
        if amount > known.amount_micro or payable_micro(amount, known.currency) != amount:
            reserved = money_of(known.amount_micro, known.currency)
            hint = f"at most {reserved.amount} {reserved.currency} is reserved"
            raise ApiError(400, "that amount cannot be taken", hint)
        state: PaymentState = "capturing" if amount else "releasing"
        if known.state != "held" or not rows.save(
            connection, known, state, call.now_ms, captured_micro=amount, reason=body.note
        ):
            raise conflict(f"the payment is {known.state}", "only one that is held has to be decided", code="not_held")

    decided = await call.update("payment", read, write)
    report(call.services, decided)
    return shown(_shown(asdict(decided)), ShownPayment)


def _shown(row: Fields) -> Fields:
    money = {name: asdict(money_of(row[f"{name}_micro"], row["currency"])) for name in ("amount", "captured")}
    return {name: each for name, each in row.items() if name in ShownPayment.__struct_fields__} | money
