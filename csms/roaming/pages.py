"""Roaming partners: the steps of their handshake, what is out of step with each, and CDRs in dispute."""

from collections.abc import Mapping
from typing import Final

from csms.console.listing import Act, Column, Listing, show_list
from csms.console.visit import ROOT, Visit, action, page, segment
from csms.http.pipeline import Answer
from csms.roaming import api as roaming
from v2g.typed_json import Fields

_PARTNERS = f"{ROOT}/partners"
_SHOWN = 50


@page("/partners", roaming.list_roaming_partners)
async def list_partners(visit: Visit) -> Answer:
    """List partners, with what waits for them, and their disputed CDRs."""
    return await _shown(visit)


PARTNERS: Final = (
    Column("partner", "Partner", lambda row: row["partner_id"]),
    Column("version", "OCPI", lambda row: row["version"], phone=False),
    Column("step", "Next step", lambda row: row["step"], "state"),
    Column("parties", "Parties", lambda row: ", ".join(row["parties"])),
    Column("seen", "Last heard", lambda row: row["seen_ms"], "time"),
    Column("waiting", "Not taken yet", lambda row: len(row["queue"]), "number"),
    Column("error", "Error", lambda row: "; ".join(f"{e['module']}: {e['error']}" for e in row["queue"] if e["error"])),
)


def next_step(partner: Mapping[str, object], waits: int) -> str:
    """Return the next step with a partner."""
    if partner["state"] == "unregistered":
        return "remove it, and add it again"
    if partner["state"] != "registered":
        return "1/3: register there" if partner["versions_url"] else "1/3: the partner registers with its token"
    if partner["seen_ms"] is None:
        return "2/3: wait for its first request"
    return "3/3: it takes what waits" if waits else "none"


async def _shown(visit: Visit, invited: Fields | None = None) -> Answer:
    rows = []
    async for each in visit.every(roaming.list_roaming_partners):
        queue = await visit.ask(roaming.list_roaming_deliveries, partner_id=each["partner_id"])
        rows.append({**each, "queue": queue, "step": next_step(each, len(queue))})
    disputes = await visit.ask(roaming.list_roaming_cdrs, state="disputed", limit=_SHOWN)

    def acts(row: Fields) -> list[Act]:
        here = f"/partners/{segment(row['partner_id'])}"
        found = [Act(f"{here}/register", "Register")] if row["versions_url"] and row["state"] != "unregistered" else []
        return found + ([Act(f"{here}/pull", "Pull")] if row["state"] == "registered" else [])

    shown = Listing(title="Roaming", columns=PARTNERS, rows=rows, acts=acts, empty="No partner yet.")
    return await show_list(visit, shown, template="partners.html", disputes=disputes, invited=invited)


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
