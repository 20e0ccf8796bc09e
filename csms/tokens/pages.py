"""Tokens of drivers, and contracts in the pool."""

from csms.console.visit import ROOT, Visit, action, page
from csms.contracts import api as contracts
from csms.http.pipeline import Answer
from csms.http.problems import ApiError
from csms.tokens import api as tokens

_PAGE = 50
_TOKENS = f"{ROOT}/tokens"


@page("/tokens", tokens.list_tokens)
async def list_tokens(visit: Visit) -> Answer:
    """List tokens, of all groups or one, and contracts that vehicles can fetch."""
    asked = visit.asked("group_id")
    found, following = await visit.page(tokens.list_tokens, limit=_PAGE, **asked, **visit.asked("cursor"))
    pooled, pool = [], ""
    if visit.may(contracts.list_contracts):
        try:
            pooled = await visit.ask(contracts.list_contracts, limit=_PAGE)
        except ApiError as error:
            if error.status != 409:  # there is no pool
                raise
            pool = error.detail
    return visit.show("tokens.html", tokens=found, next=following, asked=asked, contracts=pooled, pool=pool)


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
