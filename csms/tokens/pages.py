"""Tokens of drivers, and contracts in the pool."""

import contextlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from csms.console.listing import Act, Column, Listing, show_list, show_pages
from csms.console.visit import ROOT, Visit, action, page, segment
from csms.contracts import api as contracts
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.mandates import api as mandates
from csms.tariffs import api as tariffs
from csms.tokens import api as tokens
from csms.tokens.rules import normalise
from csms.transactions import api as transactions
from v2g.typed_json import Fields

_TOKENS = f"{ROOT}/tokens"
_MOST = 1000
_SHOWN = 20
TYPES: Final = ("ISO14443", "ISO15693", "eMAID", "Central", "KeyCode", "Local", "MacAddress")
COLUMNS: Final = (
    Column("token", "Token", lambda row: row["id_token"], href=lambda row: _path(row)),
    Column("type", "Type", lambda row: row["token_type"], phone=False),
    Column("status", "Status", lambda row: row["status"], "state"),
    Column("group", "Group", lambda row: row["terms"].get("group_id"), phone=False),
    Column("until", "Valid until", lambda row: row["terms"].get("expires_ms"), "time", phone=False),
)
CONTRACTS: Final = (
    Column("contract", "Contract", lambda row: row["emaid"]),
    Column("vehicle", "Vehicle", lambda row: row["pcid"]),
    Column("until", "Valid until", lambda row: row["until_ms"], "time"),
    Column("state", "State", lambda row: "Cannot be issued" if row["problem"] else "Ready", "state"),
    Column("problem", "Problem", lambda row: row["problem"]),
)
VIEWS: Final = {"": "All", "Accepted": "Accepted", "Blocked": "Blocked", "Expired": "Expired", "Invalid": "Invalid"}


def _path(row: Mapping[str, object]) -> str:
    return f"/tokens/{segment(row['token_type'])}/{segment(row['id_token'])}"


def _acts(row: Fields) -> list[Act]:
    here, name = f"{_path(row)}/status", row["id_token"]
    if row["status"] == "Accepted":
        return [Act(here, "Block", {"status": "Blocked"}, "Block {about}?", "danger", name)]
    return [Act(here, "Allow", {"status": "Accepted"})]


@page("/tokens", tokens.list_tokens)
async def list_tokens(visit: Visit) -> Answer:
    """List tokens by identifier."""
    asked = visit.asked("group_id", "status", "q")
    about = {"text" if name == "q" else name: value for name, value in asked.items()}

    shown = Listing(
        title="Tokens",
        columns=COLUMNS,
        asked=asked,
        tab="status",
        tabs={name: (label, None) for name, label in VIEWS.items()},
        filters={"group_id": ("Group", None)},
        key=lambda row: f"{row['token_type']} {row['id_token']}",
        acts=_acts if visit.may(tokens.set_token_status) else None,
    )
    return await show_pages(visit, shown, tokens.list_tokens, about, template="tokens.html", types=TYPES)


@page("/tokens/{token_type}/{id_token}", tokens.read_token)
async def one_driver(visit: Visit) -> Answer:
    """Show who has a token: its group's tokens, contract and vehicle, consent, prices, sessions, and what they cost."""
    kind = visit.path["token_type"]
    found = await visit.ask(tokens.read_token, token_type=kind, id_token=visit.path["id_token"])
    name = found["id_token"]
    group = found["terms"].get("group_id", "")
    others, sessions, costs = [], [], dict[str, Decimal]()
    held = 0
    if group:
        others = await visit.ask(tokens.list_tokens, group_id=group, limit=100)
    if visit.may(transactions.list_transactions):
        async for each in visit.every(transactions.list_transactions, text=name):
            if each["token_type"] == kind and normalise(kind, each["id_token"]) == name:
                sessions.append(each)
                held += each["held"] is not None
                if each["cost"] is not None and each["held"] is None:
                    amount, currency = Decimal(each["cost"]["amount"]), each["cost"]["currency"]
                    costs[currency] = costs.get(currency, Decimal(0)) + amount
            if len(sessions) == _MOST:
                break
    contract, mandate = None, None
    if visit.may(contracts.list_contracts):
        with contextlib.suppress(ApiError):  # there is no pool
            pool = [each async for each in visit.every(contracts.list_contracts)]
            contract = next((each for each in pool if normalise(kind, each["emaid"]) == name), None)
    if visit.may(mandates.list_mandates):
        known = [each async for each in visit.every(mandates.list_mandates)]
        mandate = next((each for each in reversed(known) if each["vehicle"] == name), None)
    plans = []
    if visit.may(tariffs.list_assignments):
        used = [each async for each in visit.every(tariffs.list_assignments)]
        own = [each for each in used if (each["token_type"], each["id_token"]) == (kind, name)]
        plans = [each["plan_id"] for each in own or (each for each in used if group and each["group_id"] == group)]
    modes = found["energy_transfer"]
    return visit.show(
        "driver_person.html",
        200,
        found=found,
        group=group,
        others=[each for each in others if each["id_token"] != name],
        sessions=sessions[:_SHOWN],
        count=len(sessions),
        most=len(sessions) == _MOST,
        costs=[{"amount": f"{amount:f}", "currency": currency} for currency, amount in costs.items()],
        held=held,
        contract=contract,
        mandate=mandate,
        plans=plans,
        consents=not modes or any("BPT" in each for each in modes),
        acts=_acts(found) if visit.may(tokens.set_token_status) else [],
    )


@page("/contracts", contracts.list_contracts)
async def list_contracts(visit: Visit) -> Answer:
    """List contracts that vehicles can fetch."""
    rows, empty = [], "No contract."
    try:
        rows = [each async for each in visit.every(contracts.list_contracts)]
    except ApiError as error:
        if error.status != 409:
            raise
        empty = "There is no pool of contracts: contracts.pool in the configuration names its folder."
    return await show_list(visit, Listing(title="Contracts", columns=CONTRACTS, rows=rows, tab="state", empty=empty))


@action("/tokens", tokens.put_token)
async def allow_token(visit: Visit) -> Answer:
    """Store a new token."""
    visit.back, form = _TOKENS, visit.form
    kind, name = form.get("type", ""), form.get("token", "").strip()
    try:
        await visit.ask(tokens.read_token, token_type=kind, id_token=name)
    except ApiError as error:
        if error.status != 404:
            raise
    else:
        raise ApiError(409, f"{name} is known already", "change its status in the list")
    group = form.get("group", "").strip()
    body = {"terms": {"group_id": group} if group else {}}
    await visit.ask(tokens.put_token, body, token_type=kind, id_token=name)
    return visit.see(_TOKENS, "{name} may charge.", name=name)


@action("/tokens/{token_type}/{id_token}/status", tokens.set_token_status)
async def set_status(visit: Visit) -> Answer:
    """Block a token, or allow it again."""
    visit.back = _TOKENS
    kind, name = visit.path["token_type"], visit.path["id_token"]
    found = await visit.ask(
        tokens.set_token_status, {"status": visit.form.get("status", "")}, token_type=kind, id_token=name
    )
    return visit.see(_TOKENS, "{name}: {state}", name=name, state=found["status"])
