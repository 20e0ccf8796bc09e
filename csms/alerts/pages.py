"""Alerts: outages and groups, and what people do about them: acknowledge, mute, assign (R125)."""

from collections.abc import Mapping
from typing import Final, get_args

from csms.alerts import api as alerts
from csms.alerts.groups import OUTAGE, AlertGroup, AlertState, Outage, PresentAlerts
from csms.alerts.rules import Silence, may_read, readable
from csms.console.bulk import Field, Question, Said, ask, picked, sure
from csms.console.present import ChartLine, chart
from csms.console.visit import ROOT, Visit, action, page
from csms.http.pipeline import Answer
from csms.http.problems import ApiError

_ALERTS: Final = f"{ROOT}/alerts"
HOURS: Final = {"1": "1 hour", "8": "8 hours", "24": "1 day", "168": "1 week"}
VIEWS: Final = {"open": "Open", "mine": "Mine", "acknowledged": "Acknowledged", "muted": "Muted", "cleared": "Cleared"}
SEVERITIES: Final = {"error": "Critical", "warning": "Warning", "info": "Information"}
_FEW: Final = 20
"""So many alerts are muted one by one; of more, their kind."""


@page("/alerts", alerts.list_alerts)
async def list_alerts(visit: Visit) -> Answer:
    """Show alerts in groups, worst first; by default those that nobody has seen."""
    found = await visit.find(PresentAlerts, alerts.read_alert_groups)
    asked = visit.asked("state", "severity", "kind", "site", "q")
    wanted = {view: [each for each in found.groups if _fits(visit, each, asked, view)] for view in VIEWS}
    outages = {
        view: [each for each in found.outages if each.state == view or (view == "mine" and _mine(visit, each))]
        for view in VIEWS
    }
    view = asked.get("state", "open") if asked.get("state", "open") in VIEWS else "open"
    mine = readable(visit.person.principal)
    return visit.show(
        "alerts.html",
        view=view,
        tabs={
            name: (label, sum(each.count for each in wanted[name]) + len(outages[name]))
            for name, label in VIEWS.items()
        },
        groups={word: rows for key, word in SEVERITIES.items() if (rows := _of(wanted[view], key))},
        outages=outages[view],
        chart=_pace(outages[view][0], visit.now_ms) if outages[view] else None,
        asked=asked,
        kinds=sorted({each.kind for each in found.groups}),
        sites=sorted({each.site for each in found.groups} - {""}),
        severities=SEVERITIES,
        silences=await visit.find(tuple[Silence, ...], alerts.list_alert_silences),
        escalates=[each // 60 for each in visit.services.config.alerts.escalate_s],
        may_silence=lambda kind: visit.may(alerts.silence_alerts) and may_read(mine, kind, ""),
    )


def _pace(outage: Outage, now_ms: int) -> dict[str, object]:
    begun = (outage.first_ms - 60_000, 0)
    times, missing = zip(begun, *outage.pace, (now_ms, outage.lost - outage.back), strict=True)
    return chart("Stations missing", times, [ChartLine("Missing", "", missing, steps=True)])


def _of(groups: list[AlertGroup], severity: str) -> list[AlertGroup]:
    return [each for each in groups if each.severity == severity or (severity == "info" and each.severity == "debug")]


def _mine(visit: Visit, each: AlertGroup | Outage) -> bool:
    return each.assigned == visit.person.name and each.state != "cleared"


def _fits(visit: Visit, group: AlertGroup, asked: Mapping[str, str], view: str) -> bool:
    """Return whether a group is of a view and of what is asked for."""
    if not (_mine(visit, group) if view == "mine" else group.state == view):
        return False
    if any(asked.get(name, getattr(group, name)) != getattr(group, name) for name in ("severity", "kind", "site")):
        return False
    text = " ".join((group.kind, group.site, group.assigned, group.note, group.text.format_map(group.fields)))
    return asked.get("q", "").lower() in f"{text} {' '.join(group.subjects)}".lower()


def key_of(group: AlertGroup | Outage) -> str:
    """Return the key of a row: its oldest alert."""
    return str(group.alert_ids[0])


@action("/alerts/change", alerts.acknowledge_alerts)
async def change_alerts(visit: Visit) -> Answer:
    """Ask what to do about alerts, and do it."""
    visit.back, visit.form = _ALERTS, {"do": "acknowledge", **visit.form}
    do, keys = visit.form["do"], picked(visit)
    found = await visit.find(PresentAlerts, alerts.read_alert_groups)
    rows: list[AlertGroup | Outage] = [*found.outages, *found.groups]
    chosen = [each for each in rows if key_of(each) in keys and each.state != "cleared"]
    if not chosen:
        raise ApiError(409, "no alert that has not ended is chosen", "choose some, by the boxes before them")
    ids = [number for each in chosen for number in each.alert_ids]
    question = _question(visit, do, chosen, len(ids))
    keys = [key_of(each) for each in chosen]
    if not sure(visit, len(ids)):
        return ask(visit, question, _ALERTS, len(ids), keys)
    note = visit.form.get("note", "").strip()
    if do == "mute":
        failed = await _mute(visit, chosen, note)
        if failed:
            return ask(visit, question, _ALERTS, len(ids), keys, failed)
        return visit.see(_ALERTS, "{count} alerts are muted.", count=len(ids))
    if do == "assign":
        to = visit.form.get("to", "").strip()
        changed = await visit.ask(alerts.assign_alerts, {"alert_ids": ids, "to": to})
    else:
        changed = await visit.ask(alerts.acknowledge_alerts, {"alert_ids": ids, "note": note})
    ended = len(changed["ended"]) + len(changed["unknown"])
    text = "{count} alerts are assigned." if do == "assign" else "{count} alerts are acknowledged."
    return visit.see(
        _ALERTS, text, "{ended} have ended meanwhile." if ended else "", count=changed["done"], ended=ended
    )


def _question(visit: Visit, do: str, chosen: list[AlertGroup | Outage], count: int) -> Question:
    values = {"count": str(count)}
    effects: list[Said] = [
        Said(each.text, each.fields)
        if isinstance(each, AlertGroup)
        else Said("{count} stations have lost their connection.", {"count": str(each.lost - each.back)})
        for each in chosen[:_FEW]
    ]
    if do == "mute":
        wide = sorted({_kind(each) for each in chosen if len(each.alert_ids) > _FEW})
        effects.append(Said("Nobody gets notices about them until then; what lasts longer is announced."))
        effects += [Said("All alerts of the kind {kind} are muted, of others too.", {"kind": each}) for each in wide]
        fields = [Field("hours", "Mute for", HOURS), Field("note", "Reason", required=True)]
        return Question(text="Mute {count} alerts?", values=values, effects=effects, button="Mute", fields=fields)
    if do == "assign":
        effects.append(Said("Notices go out as before."))
        fields = [Field("to", "Who takes care; empty is nobody")]
        visit.form = {"to": visit.person.name, **visit.form}
        return Question(text="Assign {count} alerts?", values=values, effects=effects, button="Assign", fields=fields)
    if do != "acknowledge":
        raise ApiError(400, "an action is acknowledge, mute or assign")
    effects.append(Said("Nobody else is called about them; they end by themselves when their cause is gone."))
    fields = [Field("note", "Note for colleagues")]
    text = "Acknowledge {count} alerts?"
    return Question(text=text, values=values, effects=effects, button="Acknowledge", fields=fields)


def _kind(each: AlertGroup | Outage) -> str:
    return each.kind if isinstance(each, AlertGroup) else OUTAGE


async def _mute(visit: Visit, chosen: list[AlertGroup | Outage], note: str) -> list[Said]:
    """Mute alerts; return what failed."""
    hours = visit.form.get("hours", "")
    if hours not in HOURS or not note:
        raise ApiError(400, "muting needs a duration and a reason", "others rely on these notices")
    body = {"until_ms": visit.now_ms + int(hours) * 3_600_000, "note": note}
    failed: list[Said] = []
    for each in chosen:
        about = {"kind": _kind(each), "subject_kind": getattr(each, "subject_kind", "station")}
        for subject in each.subjects if len(each.alert_ids) <= _FEW else ("",):
            try:
                await visit.ask(alerts.silence_alerts, {**body, **about, "subject": subject})
            except ApiError as error:
                failed.append(
                    Said("{subject}: {detail}", {"subject": subject or about["kind"], "detail": error.detail})
                )
    return failed


@action("/alerts/silences/{silence_id}/end", alerts.end_alert_silence)
async def end_alert_silence(visit: Visit) -> Answer:
    """End a silence."""
    visit.back = _ALERTS
    await visit.ask(alerts.end_alert_silence, silence_id=visit.path["silence_id"])
    return visit.see(_ALERTS, "The silence has ended: what is active is announced.")


assert {"mine", *get_args(AlertState)} == {*VIEWS}
