"""Alerts, users, audit log, health."""

from collections.abc import Mapping
from typing import Any

from csms.api.diagnostics import alerts, health, system
from csms.api.http.pipeline import Answer
from csms.api.http.problems import ApiError
from csms.api.security import access, users
from csms.console.visit import ROOT, Visit, action, page
from csms.domain.diagnostics.alerts import Silence, may_read, readable
from csms.domain.security.access import Role
from csms.domain.security.users import NO_PEOPLE

_PAGE = 50
_ALERTS = f"{ROOT}/alerts"
_USERS = f"{ROOT}/users"
_DURATIONS_H = {"1": "1 hour", "8": "8 hours", "24": "1 day", "168": "1 week"}
_ROLES = tuple(each.value for each in Role if each not in NO_PEOPLE)


@page("/alerts", alerts.list_alerts)
async def list_alerts(visit: Visit) -> Answer:
    """List alerts, newest first; by default those that have not ended."""
    asked = {"active": visit.request.query_params.get("active", "true")}
    wanted = {name: value for name, value in asked.items() if value}
    found, following = await visit.page(alerts.list_alerts, limit=_PAGE, **wanted, **visit.asked("cursor"))
    silences = await visit.find(tuple[Silence, ...], alerts.list_alert_silences)
    quiet = [each["alert_id"] for each in found if any(_covers(silence, each) for silence in silences)]
    mine = readable(visit.person.principal)
    return visit.show(
        "alerts.html",
        alerts=found,
        next=following,
        asked=asked,
        silences=silences,
        quiet=quiet,
        may_silence=lambda kind: visit.may(alerts.silence_alerts) and may_read(mine, kind, ""),
        durations=_DURATIONS_H,
    )


def _covers(silence: Silence, alert: Mapping[str, Any]) -> bool:
    """Return whether a silence is about an alert."""
    said = silence.subject_kind, silence.subject or alert["subject"], silence.kind or alert["kind"]
    return said == (alert["subject_kind"], alert["subject"], alert["kind"])


@action("/alerts/silence", alerts.silence_alerts)
async def silence_alerts(visit: Visit) -> Answer:
    """Announce no alerts of something for a while."""
    visit.back = _ALERTS
    form, hours = visit.form, visit.form.get("hours", "")
    if hours not in _DURATIONS_H:
        raise ApiError(400, "a silence needs a duration", f"hours: {', '.join(_DURATIONS_H)}")
    note = form.get("note", "").strip()
    if not note:
        raise ApiError(400, "a silence needs a reason", "others rely on these announcements")
    what = {name: form.get(name, "") for name in ("subject_kind", "subject", "kind")}
    until_ms = visit.now_ms + int(hours) * 3_600_000
    await visit.ask(alerts.silence_alerts, {**what, "until_ms": until_ms, "note": note})
    return visit.see(
        _ALERTS, "{kind}: {subject} is silenced.", kind=what["kind"].replace("_", " "), subject=what["subject"]
    )


@action("/alerts/silences/{silence_id}/end", alerts.end_alert_silence)
async def end_alert_silence(visit: Visit) -> Answer:
    """End a silence."""
    visit.back = _ALERTS
    await visit.ask(alerts.end_alert_silence, silence_id=visit.path["silence_id"])
    return visit.see(_ALERTS, "The silence has ended: what is active is announced.")


@action("/alerts/{alert_id}/acknowledge", alerts.acknowledge_alert)
async def acknowledge_alert(visit: Visit) -> Answer:
    """Note that an alert was seen."""
    visit.back = _ALERTS
    note = visit.form.get("note", "").strip()
    found = await visit.ask(alerts.acknowledge_alert, {"note": note}, alert_id=visit.path["alert_id"])
    about = {"kind": found["kind"].replace("_", " "), "subject": found["subject"]}
    return visit.see(visit.back, "{kind}: {subject} is acknowledged.", **about)


@page("/users", users.list_users)
async def list_users(visit: Visit) -> Answer:
    """List who may log in."""
    found, following = await visit.page(users.list_users, limit=_PAGE, **visit.asked("cursor"))
    return visit.show("users.html", users=found, next=following, roles=_ROLES, issued=None)


@action("/users", users.add_user)
async def add_user(visit: Visit) -> Answer:
    """Let a person log in; show the issued password once."""
    visit.back = _USERS
    name = visit.form.get("name", "").strip().lower()
    made = await visit.ask(users.add_user, {"name": name, **_role(visit)})
    return await _issued(visit, made)


def _role(visit: Visit) -> dict[str, object]:
    """Return the role of a form, and the only sites that it is for."""
    sites = [each.strip() for each in visit.form.get("sites", "").split(",") if each.strip()]
    return {"role": visit.form.get("role", ""), "sites": sites or None}


@action("/users/{name}/reset", users.reset_user)
async def reset_user(visit: Visit) -> Answer:
    """Issue another password."""
    visit.back = _USERS
    return await _issued(visit, await visit.ask(users.reset_user, name=visit.path["name"]))


async def _issued(visit: Visit, made: dict[str, object]) -> Answer:
    found, following = await visit.page(users.list_users, limit=_PAGE)
    return visit.show("users.html", users=found, next=following, roles=_ROLES, issued=made)


@action("/users/{name}/role", users.set_user_role)
async def set_role(visit: Visit) -> Answer:
    """Give a person another role."""
    visit.back = _USERS
    name, body = visit.path["name"], _role(visit)
    await visit.ask(users.set_user_role, body, name=name)
    sites = visit.form.get("sites", "").strip()
    return visit.see(
        _USERS,
        "{name} is now {role} of {sites}." if sites else "{name} is now {role} of all sites.",
        name=name,
        role=body["role"],
        sites=sites,
    )


@action("/users/{name}/remove", users.remove_user)
async def remove_user(visit: Visit) -> Answer:
    """Remove a person."""
    visit.back = _USERS
    await visit.ask(users.remove_user, name=visit.path["name"])
    return visit.see(_USERS, "{name} is removed.", name=visit.path["name"])


@page("/audit", access.list_audit)
async def show_audit(visit: Visit) -> Answer:
    """Show who changed what."""
    asked = visit.asked("caller", "operation")
    found, following = await visit.page(access.list_audit, limit=_PAGE, **asked, **visit.asked("cursor"))
    return visit.show("audit.html", entries=found, next=following, asked=asked)


@page("/health")
async def show_health(visit: Visit) -> Answer:
    """Show the state of the back end."""
    running = await visit.ask(system.read_system) if visit.may(system.read_system) else None
    return visit.show("health.html", health=await visit.ask(health.read_health), system=running)


@action("/health/backup", system.make_backup)
async def back_up(visit: Visit) -> Answer:
    """Write a backup now."""
    visit.back = f"{ROOT}/health"
    made = await visit.ask(system.make_backup)
    return visit.see(visit.back, "Backup: {file}", "{rows} rows, {octets} bytes.", **made)
