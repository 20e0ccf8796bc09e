"""Roaming partners: the steps of their handshake, what is out of step with each, and CDRs in dispute."""

from typing import Any

from csms.console.visit import ROOT, Visit, action, page
from csms.http.pipeline import Answer
from csms.roaming import api as roaming

_PARTNERS = f"{ROOT}/partners"
_SHOWN = 50


@page("/partners", roaming.list_roaming_partners)
async def list_partners(visit: Visit) -> Answer:
    """List partners, with what waits for them, and their disputed CDRs."""
    return await _shown(visit)


async def _shown(visit: Visit, invited: Any = None) -> Answer:
    partners, following = await visit.page(roaming.list_roaming_partners, limit=_SHOWN, **visit.asked("cursor"))
    waiting = {
        each["partner_id"]: await visit.ask(roaming.list_roaming_deliveries, partner_id=each["partner_id"])
        for each in partners
    }
    disputes = await visit.ask(roaming.list_roaming_cdrs, state="disputed", limit=_SHOWN)
    return visit.show(
        "partners.html", partners=partners, next=following, waiting=waiting, disputes=disputes, invited=invited
    )


@action("/partners", roaming.add_roaming_partner)
async def add_partner(visit: Visit) -> Answer:
    """Invite a partner, whose token A is shown this once, or store where we register."""
    visit.back = _PARTNERS
    body = {
        name: text for name in ("partner_id", "versions_url", "token") if (text := visit.form.get(name, "").strip())
    }
    made = await visit.ask(roaming.add_roaming_partner, body)
    return await _shown(visit, made if made["token"] else None)


@action("/partners/{partner_id}/register", roaming.register_roaming_partner)
async def register_partner(visit: Visit) -> Answer:
    """Do the handshake, or rotate tokens."""
    visit.back, name = _PARTNERS, visit.path["partner_id"]
    await visit.ask(roaming.register_roaming_partner, partner_id=name)
    return visit.see(_PARTNERS, "{name} is registered.", name=name)


@action("/partners/{partner_id}/pull", roaming.pull_roaming_partner)
async def pull_partner(visit: Visit) -> Answer:
    """Pull what has changed at a partner."""
    visit.back, name = _PARTNERS, visit.path["partner_id"]
    found = await visit.ask(roaming.pull_roaming_partner, partner_id=name)
    count = sum(each["objects"] for each in found)
    return visit.see(_PARTNERS, "{name}: {count} objects pulled.", name=name, count=count)


@action("/partners/{partner_id}/cdrs/{key}", roaming.decide_roaming_cdr)
async def decide_cdr(visit: Visit) -> Answer:
    """Release or reject a disputed CDR."""
    visit.back, which = _PARTNERS, {name: visit.path[name] for name in ("partner_id", "key")}
    body = {name: visit.form.get(name, "").strip() for name in ("decision", "note")}
    found = await visit.ask(roaming.decide_roaming_cdr, body, **which)
    return visit.see(_PARTNERS, "{name}: {state}", name=which["key"], state=found["state"])
