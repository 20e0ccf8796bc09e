"""Alerts: what began, whether it has ended, who has seen it, and which are silenced (R125)."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from sqlalchemy import Connection

from csms.accounts.rules import Permission, Principal
from csms.alerts import store as rows
from csms.alerts.groups import RECENT_MS, PresentAlerts, grouped
from csms.alerts.rules import Alert, Rule, RuleName, Silence, SubjectKind, may_read, readable, rules_of
from csms.http.call import Call
from csms.http.operations import Page, Reply, delete, get, post
from csms.http.parameters import Paged, newest_first
from csms.http.problems import ApiError, conflict, existing, missing
from csms.sites import store as site_store
from csms.sites.rules import site_of_stations
from v2g.units import LAST_MS


class WhichAlerts(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for alerts."""

    active: Annotated[bool | None, msgspec.Meta(description="Only those that have not ended, or only others.")] = None
    subject: Annotated[
        str | None, msgspec.Meta(description="Only of this vehicle, station or other subject.", examples=["EV-1"])
    ] = None
    kind: Annotated[str | None, msgspec.Meta(description="Only of this kind.", examples=["station_offline"])] = None


RowId = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the caller says about an alert."""

    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


AlertIds = Annotated[tuple[RowId, ...], msgspec.Meta(max_length=20_000)]


class SeenAlerts(Acknowledgement, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alerts that the caller has seen."""

    alert_ids: AlertIds


class AssignedAlerts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who takes care of alerts; "" is nobody."""

    alert_ids: AlertIds
    to: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class ChangedAlerts(msgspec.Struct, frozen=True, kw_only=True):
    """How many alerts have changed, and which have not: those that have ended since, or that there are none of."""

    done: int
    ended: tuple[int, ...]
    unknown: tuple[int, ...]


class NewSilence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alerts that are not announced until `until_ms`; "" is any `subject`, any `kind`."""

    subject_kind: SubjectKind
    subject: Annotated[str, msgspec.Meta(max_length=64)] = ""
    kind: Annotated[str, msgspec.Meta(pattern=r"^([a-z][a-z0-9_]{0,63})?\Z")] = ""
    until_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]
    note: Annotated[str, msgspec.Meta(max_length=200)] = ""


class AlertRule(Rule, frozen=True, kw_only=True):
    """A rule, with what the configuration changes: `value` begins to be an alert beyond `limit`, and ends at `clear`.

    Where `clear` is above `limit`, beyond is below.
    """

    name: RuleName


@get("/alerts", Permission.READ_ALERTS, for_sites=True)
async def list_alerts(call: Call, parameters: WhichAlerts) -> Page[Alert]:
    """List alerts about what the caller may read, newest first."""
    which = readable(call.caller), parameters.active, parameters.subject, parameters.kind
    return await newest_first(call, parameters, Alert, "alert_id", rows.listed, *which)


@get("/alerts/{alert_id}", Permission.READ_ALERTS, problems=(404,), for_sites=True)
async def read_alert(call: Call, alert_id: RowId) -> Alert:
    """Return one alert."""
    return existing("alert", await call.run(_theirs, alert_id, call.caller))


@post(
    "/alerts/{alert_id}/acknowledge",
    Permission.WRITE_ALERTS,
    problems=(404,),
    example={"note": "towed to workshop"},
    for_sites=True,
)
async def acknowledge_alert(call: Call, alert_id: RowId, body: Acknowledgement) -> Alert:
    """Note that the caller has seen an alert: it is not escalated. It ends by itself."""

    return await call.update(
        "alert",
        lambda connection: _theirs(connection, alert_id, call.caller),
        lambda connection, alert: rows.acknowledge(
            connection, alert.alert_id, call.caller.name, body.note, call.now_ms
        ),
    )


@get("/alert-groups", Permission.READ_ALERTS, for_sites=True)
async def read_alert_groups(call: Call) -> PresentAlerts:
    """Return alerts that have not ended, or ended within a day, as people see them: outages, and groups of a kind,
    severity, site and assignee, each with a sentence, worst first."""
    escalate_ms = tuple(1000 * each for each in call.services.config.alerts.escalate_s)

    def read(connection: Connection) -> PresentAlerts:
        site_of = site_of_stations(site_store.all_sites(connection))
        found = rows.present(connection, readable(call.caller), call.now_ms - RECENT_MS)
        return grouped(
            found,
            rows.silences(connection, call.now_ms),
            site_of,
            escalate_ms,
            call.now_ms,
            lambda alert: rows.find(connection, alert.alert_id) or alert,
        )

    return await call.run(read)


@post(
    "/alerts/acknowledge",
    Permission.WRITE_ALERTS,
    example={"alert_ids": [1], "note": "power cut; the grid operator knows"},
    for_sites=True,
)
async def acknowledge_alerts(call: Call, body: SeenAlerts) -> ChangedAlerts:
    """Note that the caller has seen alerts, as of one."""
    return await _change_all(
        call,
        body.alert_ids,
        lambda connection, alert_id: rows.acknowledge(connection, alert_id, call.caller.name, body.note, call.now_ms),
    )


@post("/alerts/assign", Permission.WRITE_ALERTS, example={"alert_ids": [1], "to": "ada"}, for_sites=True)
async def assign_alerts(call: Call, body: AssignedAlerts) -> ChangedAlerts:
    """Say who takes care of alerts; they are announced and escalated all the same."""
    return await _change_all(
        call, body.alert_ids, lambda connection, alert_id: rows.assign(connection, alert_id, body.to)
    )


async def _change_all(
    call: Call, alert_ids: tuple[int, ...], change: Callable[[Connection, int], None]
) -> ChangedAlerts:
    changed: list[ChangedAlerts] = []

    def write(connection: Connection, _: ChangedAlerts | None) -> None:
        who = readable(call.caller)
        found = {each: rows.find(connection, each) for each in dict.fromkeys(alert_ids)}
        theirs = {
            number: each for number, each in found.items() if each and may_read(who, each.subject_kind, each.subject)
        }
        active = [number for number, each in theirs.items() if each.active]
        for each in active:
            change(connection, each)
        ended, unknown = theirs.keys() - set(active), found.keys() - theirs.keys()
        changed.append(ChangedAlerts(done=len(active), ended=tuple(sorted(ended)), unknown=tuple(sorted(unknown))))

    await call.change(lambda _: changed[-1] if changed else None, write)
    return changed[-1]


def _theirs(connection: Connection, alert_id: int, caller: Principal) -> Alert | None:
    """Return an alert, None where the caller may not read it: its number says nothing."""
    found = rows.find(connection, alert_id)
    if found is None or not may_read(readable(caller), found.subject_kind, found.subject):
        return None
    return found


@get("/alert-rules", Permission.READ_ALERTS, for_sites=True)
async def list_alert_rules(call: Call) -> Page[AlertRule]:
    """List the rules in force, by name."""
    rules = rules_of(call.services.config.alerts.rules)
    return Page(tuple(AlertRule(name=name, **msgspec.structs.asdict(rules[name])) for name in sorted(rules)))


@get("/alert-silences", Permission.READ_ALERTS, for_sites=True)
async def list_alert_silences(call: Call) -> Page[Silence]:
    """List silences that are not over, of what the caller may read."""
    who = readable(call.caller)
    found = await call.run(rows.silences, call.now_ms)
    return Page(tuple(each for each in found if may_read(who, each.subject_kind, each.subject)))


_SILENCE = {"subject_kind": "station", "subject": "CS-1", "until_ms": 1_893_456_000_000, "note": "replaced on Monday"}


@post("/alert-silences", Permission.WRITE_ALERTS, status=201, problems=(403, 409), example=_SILENCE, for_sites=True)
async def silence_alerts(call: Call, body: NewSilence) -> Reply[Silence]:
    """Announce no alerts of something for a while. They are listed all the same, and announced if they last longer.

    The caller must be allowed to read all subjects of that kind: others rely on these announcements.
    """
    if not may_read(readable(call.caller), body.subject_kind, ""):
        raise ApiError(403, f"only who may read alerts of every {body.subject_kind} may silence one")
    if body.until_ms <= call.now_ms:
        raise conflict("until_ms is in the past")
    made = Silence(created_ms=call.now_ms, created_by=call.caller.name[:128], **msgspec.structs.asdict(body))
    numbers: list[int] = []

    def read(connection: Connection) -> Silence | None:
        return rows.find_silence(connection, numbers[-1], call.now_ms) if numbers else None

    def write(connection: Connection, _: Silence | None) -> None:
        numbers.append(rows.add_silence(connection, made))

    after = await call.put(read, write)
    return Reply(content=after, status=201, headers={"Location": f"/alert-silences/{after.silence_id}"})


@get("/alert-silences/{silence_id}", Permission.READ_ALERTS, problems=(404,), for_sites=True)
async def read_alert_silence(call: Call, silence_id: RowId) -> Silence:
    """Return one silence."""
    found = await call.run(rows.find_silence, silence_id, call.now_ms)
    if found is None or not may_read(readable(call.caller), found.subject_kind, found.subject):
        raise missing("silence")
    return found


@delete("/alert-silences/{silence_id}", Permission.WRITE_ALERTS, problems=(404,), for_sites=True)
async def end_alert_silence(call: Call, silence_id: RowId) -> None:
    """End a silence: what is active is announced."""

    def read(connection: Connection) -> Silence | None:
        found = rows.find_silence(connection, silence_id, call.now_ms)
        return found if found is not None and may_read(readable(call.caller), found.subject_kind, "") else None

    await call.remove("silence", read, lambda connection, silence: rows.end_silence(connection, silence_id))
    call.backend.alerts.wake()
