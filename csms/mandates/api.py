"""Payment mandates: drivers let the operator debit what their sessions cost."""

from typing import Annotated, Literal

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Connection

from csms.accounts.rules import Permission
from csms.http.call import Call
from csms.http.operations import Page, Reply, delete, get, post
from csms.http.parameters import Money, Paged, RowNumber, money_of, pages, shown
from csms.http.problems import ApiError, existing
from csms.mandates import store as rows
from v2g.typed_json import Fields
from v2g.units import UtcMs, currency_digits, micro_of, payable_micro

_MOST_MICRO = 10**15


class NewMandate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mandate for the vehicle of a contract (EMAID), from a payer's address (for UPI a VPA): at most `most` a debit,
    until `expires_ms` (UTC)."""

    vehicle: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    payer: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    most: Money
    expires_ms: UtcMs


class ShownMandate(msgspec.Struct, frozen=True, kw_only=True):
    """A mandate: `requested`, `pending` while the payer has not approved it (at `approval_url`), `active`, or `ended`.

    The payer's address is not shown.
    """

    id: int
    vehicle: str
    most: Money
    created_ms: int
    expires_ms: int
    state: Literal["requested", "pending", "active", "ended"]
    reference: str
    approval_url: str
    reason: str


class ShownDebit(msgspec.Struct, frozen=True, kw_only=True):
    """A debit for a posting, or, with a negative amount, the reversal of one.

    `due` until the provider has decided; `nothing`: there is nothing to debit or to reverse. `notice`: the provider's
    reference of the payer's notice, given at `noticed_ms` (UTC); null: none yet, or none is needed.
    """

    posting: int
    mandate: int
    station_id: str
    session_id: str
    key: str
    amount: Money
    state: Literal["due", "done", "failed", "nothing"]
    reference: str
    reason: str
    at_ms: int
    notice: str
    noticed_ms: int | None


class DebitsOf(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a mandate's debits."""

    mandate_id: RowNumber


@post(
    "/mandates",
    Permission.WRITE_MANDATES,
    status=201,
    problems=(409,),
    example={
        "vehicle": "DEV2GC00000001",
        "payer": "driver@bank",
        "most": {"amount": "2000.00", "currency": "INR"},
        "expires_ms": 1_900_000_000_000,
    },
)
async def create_mandate(call: Call, body: NewMandate) -> Reply[ShownMandate]:
    """Have the payment provider create a mandate; what the vehicle's sessions cost from then on is debited by it.

    A vehicle has one at a time. The provider is asked next: read the mandate for its approval URL and state.
    """
    if call.services.config.payments.mandates is None:
        raise ApiError(409, "no payment provider is configured", "set [payments.mandates]", code="no_provider")
    if body.expires_ms <= call.now_ms:
        raise ApiError(400, "expires_ms is in the past")
    most_micro = micro_of(body.most.amount)
    if not 0 < most_micro <= _MOST_MICRO:
        raise ApiError(400, "most must be above 0, and at most 1000000000")
    if payable_micro(most_micro, body.most.currency) != most_micro:
        digits = currency_digits(body.most.currency)
        raise ApiError(400, f"most has more than {digits} decimals", f"{body.most.currency} has {digits} (ISO 4217)")
    number = await call.run(
        rows.add,
        vehicle=body.vehicle,
        payer=body.payer,
        currency=body.most.currency,
        most_micro=most_micro,
        now_ms=call.now_ms,
        expires_ms=body.expires_ms,
    )
    return Reply(content=await _shown(call, number), status=201, headers={"Location": f"/mandates/{number}"})


@get("/mandates", Permission.READ_SETTLEMENTS)
async def list_mandates(call: Call, parameters: Paged) -> Page[ShownMandate]:
    """List mandates, oldest first."""

    def fetch(connection: Connection, after: tuple[int, ...] | None, limit: int) -> list[dict[str, object]]:
        return [_with_most(each) for each in rows.list_page(connection, after, limit)]

    return await pages(call, parameters, ShownMandate, tuple[int], ("id",), fetch)


@get("/mandates/{mandate_id}", Permission.READ_SETTLEMENTS, problems=(404,))
async def read_mandate(call: Call, mandate_id: RowNumber) -> ShownMandate:
    """Return one mandate."""
    return await _shown(call, mandate_id)


@delete("/mandates/{mandate_id}", Permission.WRITE_MANDATES, problems=(404,))
async def end_mandate(call: Call, mandate_id: RowNumber) -> None:
    """End a mandate: later sessions are not debited. At the provider the payer revokes it."""
    await _shown(call, mandate_id)
    await call.run(rows.end, mandate_id, "ended by the operator")


@get("/mandates/{mandate_id}/debits", Permission.READ_SETTLEMENTS)
async def list_debits(call: Call, parameters: DebitsOf) -> Page[ShownDebit]:
    """List a mandate's debits by their postings; one with a negative amount reverses an earlier one."""

    def fetch(connection: Connection, after: tuple[int, ...] | None, limit: int) -> list[dict[str, object]]:
        found = rows.list_debits(connection, parameters.mandate_id, after[0] if after else 0, limit)
        return [{**asdict(each), "amount": asdict(money_of(each.amount_micro, each.currency))} for each in found]

    return await pages(call, parameters, ShownDebit, tuple[int], ("posting",), fetch)


async def _shown(call: Call, number: int) -> ShownMandate:
    found = existing("mandate", await call.run(rows.find, number))
    return shown(_with_most(asdict(found)), ShownMandate)


def _with_most(row: Fields) -> Fields:
    return row | {"most": asdict(money_of(row["most_micro"], row["currency"]))}
