"""The commands of `v2g csms` that ask one operation of the API: their names, columns and arguments."""

from decimal import Decimal
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

from v2g.errors import ConfigError, V2GError
from v2g.typed_json import Fields
from v2g.units import LAST_MS
from v2g_cli.csms.commands import ApiOperation, FlagOption, FromFile, Instead, add, operations
from v2g_cli.csms.openapi import operations_of
from v2g_cli.csms.show import client_of, money
from v2g_cli.output import say

app = typer.Typer()
alerts = typer.Typer(
    name="alerts", help="List, show, acknowledge and silence alerts of vehicles, stations and the back end."
)
attestation = typer.Typer(
    name="attestation", help="List, enrol and ask stations that prove by their TPMs that they are whole."
)
battery = typer.Typer(name="battery", help="Check what is estimated of batteries, and reset what lasts.")
books = typer.Typer(name="books", help="The operator's key, and what it has signed.")
campaigns = typer.Typer(
    name="campaigns",
    help="Update many stations in steps: [Firmware campaigns](docs/explanation/firmware-campaigns.md).\n\n"
    "Example: `v2g csms campaigns list`",
)
roaming = typer.Typer(name="roaming", help="Partners of roaming by OCPI: add, register and remove them.")
session_metrics = typer.Typer(
    name="session-metrics", help="List figures of sessions that show worn parts of stations, and start over."
)
tariffs = typer.Typer(name="tariffs", help="List, show, store, price and delete tariffs.")
templates = typer.Typer(name="templates", help="Configuration templates of stations, and where these differ.")
trust = typer.Typer(name="trust", help="Certificates that expire, and the roots of an ecosystem's trust list.")
uptime = typer.Typer(name="uptime", help="Uptime of EVSEs by regulations, and what does not count of outages.")
users = typer.Typer(name="users", help="People who log in to the console.")

GROUPS = (
    alerts,
    attestation,
    battery,
    books,
    campaigns,
    roaming,
    session_metrics,
    tariffs,
    templates,
    trust,
    uptime,
    users,
)

_SITES = {"sites": "--site"}
_FOUND = {"reason": "What was found and done; it is recorded.", "note": "Why, for the audit log."}

_KIND = {"certificate_kind": "KIND"}

# fmt: off

# -- alerts

add(alerts, "list", "list_alerts",
    "alert: alert_id, about: subject, what: kind, severity, value, limit, since: raised_ms, ended: cleared_ms, "
    "escalated: escalations, acknowledged by: acknowledged_by",
    options={"active": FlagOption("--ended", "Also those that have ended.", absent=True)})


def _grouped(found: Fields) -> list[Fields]:
    """Return outages and groups as rows of one list."""
    outages = [
        {**each, "severity": "error", "site": ", ".join(filter(None, each["sites"])),
         "what": f"{each['lost'] - each['back']} of {each['lost']} stations that were lost within minutes are missing"}
        for each in found["outages"]
    ]
    return outages + [{**each, "what": each["text"].format_map(each["fields"])} for each in found["groups"]]


def _numbered(row: Fields) -> Fields:
    ids = row["alert_ids"]
    return {**row, "numbers": " ".join(map(str, ids[:5])) + (" ..." if len(ids) > 5 else "")}


add(alerts, "groups", "read_alert_groups",
    "what, state, severity, site, alerts: numbers, since: first_ms, taken by: assigned, next notice: escalates_ms",
    rows=_grouped, present=_numbered, title="Alerts",
    text="List alerts as people see them: outages, and groups of a kind, site and assignee, worst first.")
add(alerts, "show", "read_alert", words={"alert_id": "ALERT"}, text="Show one alert with what was measured.")
add(alerts, "acknowledge", "acknowledge_alert", about={"note": "What is done about it."})
add(alerts, "assign", "assign_alerts", words={"alert_ids": "ALERT"}, about={"to": 'Who takes care; "" is nobody.'},
    done="{done} alerts are assigned.")
add(alerts, "rules", "list_alert_rules",
    "rule: name, about a: subject_kind, value, limit, ends at: clear, severity, enabled", title="Rules",
    text="List the rules that raise alerts. `[alerts.rules]` of the configuration changes them.")
add(alerts, "silence", "silence_alerts", options={"until_ms": "--for"}, words={"subject_kind": "ABOUT"},
    about={"subject_kind": "station, site, node, queue, vehicle, settlement, ...", "until_ms": "How long: 30m, 8h, 2d.",
           "subject": "Only this one; default: all.", "kind": "Only alerts of this kind; default: all.",
           "note": "Why."},
    example='station --subject CS-1 --for 8h --note "replaced today"')
add(alerts, "silences", "list_alert_silences",
    "silence: silence_id, about a: subject_kind, subject, kind, until: until_ms, by: created_by, note",
    title="Silences")
add(alerts, "end-silence", "end_alert_silence")

# -- attestation (R148)

add(attestation, "list", "list_attestations",
    "station: station_id, state, since: since_ms, asked: asked_ms, whole at: verified_ms, reasons",
    title="attestation")
add(attestation, "show", "read_attestation")
add(attestation, "enrol", "put_attestation", words={"tpm_key": FromFile("Public key of its TPM's quoting key, PEM.")})
add(attestation, "ask", "ask_attestation")
add(attestation, "remove", "delete_attestation", done="{station_id} is no longer asked")

# -- batteries

add(battery, "reference", "add_battery_reference", words={"capacity_ah": "AH"},
    about={"capacity_ah": "Measured capacity, Ah.", "deviation": "Relative standard deviation of that.",
           "note": "How it was measured, or why.", "at_ms": "When it was measured; default: now."},
    example='EV-1 98.4 --note "C/3 discharge"')
add(battery, "calibrate", "calibrate_battery", about={"note": "How it was measured, or why."})
add(battery, "reset", "reset_thermal_runaway", about=_FOUND)
add(battery, "checks", "list_battery_checks",
    "at: at_ms, what: kind, measured (Ah): values.measured_ah, estimated (Ah): values.estimated_ah, "
    "error (%): values.error_percent, residual (V): values.residual_v, residual (K): values.residual_c, by, note",
    title="Checks")
add(battery, "reports", "list_battery_reports",
    "month, vehicles, checked, apart, worst error (%): worst_percent, RMS error (%): rms_percent",
    title="Reports")

# -- money

add(app, "receipt", "read_receipt", text="Write a session's receipt for the driver, a page (HTML), from the back end's "
    "copy of the journal.", words={"session_id": "SESSION"}, defaults={"language": "en"},
    example="0A1B2C3D4E5F6071 --out receipt.html --language de")
add(app, "charging-entries", "export_charging_entries", options={"from_day": "--from", "to_day": "--to"},
    text="Write ended transactions as CSV, for the import of charging entries into Fleetio.",
    example="--from 2026-11-01 --to 2026-11-30 --out november.csv")
add(app, "journal", "read_journal", words={"session_id": "SESSION"},
    text="Export the back end's copy of a session journal, exactly as the charger sent it.",
    example="0A1B2C3D4E5F6071 --out journal.jsonl")
add(app, "unbooked", "list_quarantine",
    "station: station_id, kind, session: session_id, state, reason, contradicts: contradicts.session_id, "
    "since: since_ms, detail", title="Not booked",
    about={"state": "Only waiting, quarantined, released or rejected ones."},
    text="List sessions whose journals are not booked, and held transactions: what waits for evidence or is in "
    "quarantine.")
add(app, "contradictions", "list_contradictions",
    "station: station_id, kind, session: session_id, evse: evse_id, begun: begin_ms, ended: end_ms",
    text="List sessions that an earlier version booked although they contradict others: `--json` has both.")
add(app, "exchange-meter", "exchange_meter", words={"station_id": "STATION", "evse_id": "EVSE"},
    text="Note that an EVSE's meter was exchanged, with the registers of both.",
    example="CS-1 1 --old-import-mwh 5005000000 --new-import-mwh 0")
add(app, "release", "release_journal", about=_FOUND, example='0A1B2C3D4E5F6071 --note "confirmed by the driver"')
add(app, "reject", "reject_journal", about=_FOUND, example='0A1B2C3D4E5F6071 --note "no vehicle was there"')
add(books, "key", "read_books_key", example="--out operator.pem",
    text="Write the public half of the operator's key (PEM), which `v2g settle verify --operator` needs.")
add(books, "sign", "sign_corrections", example="0A1B2C3D4E5F6071")
add(tariffs, "show", "read_tariff", words={"plan_id": "TARIFF"}, text="Show a tariff with all its rates and taxes.",
    example="day-night")
add(tariffs, "delete", "delete_tariff", words={"plan_id": "TARIFF"}, example="summer-2026")

# -- configuration templates

_TEMPLATE = {"template_id": "TEMPLATE"}
add(templates, "list", "list_station_templates", "template: id, version, sites, models, stations", title="Templates")
add(templates, "show", "read_station_template", words=_TEMPLATE, example="depots")
add(templates, "put", "put_station_template", words=_TEMPLATE,
    example="depots --sites north --values "
    """'[{"component":"OCPPCommCtrlr","variable":"HeartbeatInterval","value":"300"}]'""")
add(templates, "drift", "list_station_drift",
    "template: template_id, station: station_id, variable: place, wanted, is: actual, state, since: since_ms",
    title="Differences")
add(templates, "apply", "apply_station_template",
    "station: station_id, variables, state, reason", words=_TEMPLATE, title="Stations", example="depots --dry-run")
add(templates, "delete", "delete_station_template", words=_TEMPLATE, example="depots")

# -- uptime (R185)

add(uptime, "list", "list_uptime",
    "station: station_id, EVSE: evse_id, percent, reaches target: reaches_target, hours between: hours_between, "
    "hours of: hours_of, sessions: attempts, with energy (%): charged_percent",
    title="Uptime", defaults={"rules": "nevi"}, example="--rules uk-2023")
add(uptime, "summary", "read_uptime_summary", defaults={"rules": "nevi"}, example="--rules california")
add(uptime, "rules", "list_uptime_rules",
    "name, title, target (%): target_percent, of, offline, source, read", title="Definitions of uptime")
add(uptime, "exclude", "add_uptime_exclusion", words={"station_id": "STATION"},
    about={"evse_id": "Only this one; 0: all.", "from_ms": "Begin of what does not count.", "to_ms": "Its end.",
           "cause": "grid, vehicle, maintenance, vandalism, disaster, closed or provider.",
           "evidence": "What shows that, such as a letter of the grid operator."},
    example='CS-1 --from 2026-11-01T08:00Z --to 2026-11-01T14:00Z --cause grid --evidence "notice 4711"')
add(uptime, "exclusions", "list_uptime_exclusions",
    "exclusion: exclusion_id, station: station_id, EVSE: evse_id, from: from_ms, to: to_ms, cause, evidence, "
    "by: added_by", title="Exclusions")
add(uptime, "include", "delete_uptime_exclusion", words={"exclusion_id": "EXCLUSION"},
    text="Let a time count again.")

# -- roaming (R202)

add(roaming, "list", "list_roaming_partners",
    "partner: partner_id, state, version, parties, heard: seen_ms, versions: versions_url", title="Partners")
add(roaming, "show", "read_roaming_partner")
add(roaming, "add", "add_roaming_partner", words={"partner_id": "PARTNER"},
    example="north --versions-url https://cpo.example/ocpi/versions --token T")
add(roaming, "register", "register_roaming_partner", example="north")
add(roaming, "pull", "pull_roaming_partner", "module, objects, problem", title="Pulled", example="north")
add(roaming, "locations", "list_roaming_locations",
    "location: id, name, address, city, zone: time_zone", title="Locations")
add(roaming, "objects", "list_roaming_objects", "partner: partner_id, object: key, changed: updated_ms, "
    "state: document.status", title="Objects", example="--module locations")
add(roaming, "cdrs", "list_roaming_cdrs", "partner: partner_id, CDR: key, state, from: document.start_date_time, "
    "net: document.total_cost.before_taxes, currency: document.currency, why: detail", title="CDRs")
add(roaming, "decide", "decide_roaming_cdr", words={"partner_id": "PARTNER", "key": "CDR"}, about=_FOUND)
add(roaming, "command", "send_roaming_command", words={"partner_id": "PARTNER", "command": "COMMAND"},
    example="north START_SESSION --location depot --id-token 04A1B2C3", done="command {command_id}: {state}")
add(roaming, "commands", "list_roaming_commands", "command: command_id, partner: partner_id, what: command.command, "
    "sent: sent_ms, state, error: detail", title="Commands")
add(roaming, "deliveries", "list_roaming_deliveries", "module, object: subject, since: created_ms, next: due_ms, "
    "attempts, error", words={"partner_id": "PARTNER"}, title="Deliveries")
add(roaming, "remove", "remove_roaming_partner", example="north")

# -- campaigns

add(campaigns, "list", "list_campaigns", "campaign: campaign_id, name, state, begun: created_ms, why: reason")
for _name, _operation in {
    "pause": "pause_campaign", "resume": "resume_campaign", "rollback": "roll_back_campaign",
    "cancel": "cancel_campaign", "exclude": "exclude_from_campaign", "force": "force_in_campaign",
}.items():
    add(campaigns, _name, _operation, words={"station_ids": "STATION"}, done="campaign {campaign_id}: {state}")

# -- stations and what they do

add(app, "health", "read_health", lines="", text="Show the state of the back end.")
add(app, "station", "read_station", "EVSE: evse_id, connector: connector_id, status, since: changed_ms",
    lines="connectors", title="Connectors", text="Show a station.", example="CS-V2G-0001")

def _of_transaction(row: Fields) -> Fields:
    """Return a transaction for display: its state, and the energy in place of meter registers."""
    status = row["charging_state"] or "Started"
    if status == "Charging" and float(row["power_w"] or 0) < 0:
        status = "Discharging"
    if not row["active"]:  # its last charging state and power are outdated
        status = f"Ended ({row['stopped_reason'] or row['closed_reason'] or 'Local'})"
    registers = {name: (row[f"{name}_start_wh"], row[f"{name}_wh"]) for name in ("import", "export")}
    flowed = {
        f"{name}_wh": None if None in (first, last) else Decimal(last) - Decimal(first)
        for name, (first, last) in registers.items()
    }
    cost = None if row["cost"] is None else money(row["cost"])
    return row | flowed | {"status": status, "power_w": row["power_w"] if row["active"] else None, "price": cost}


add(app, "transactions", "list_transactions",
    "station: station_id, transaction: transaction_id, EVSE: evse_id, token: id_token, status, began: started_ms, "
    "ended: ended_ms, W: power_w, SoC %: soc, import Wh: import_wh, export Wh: export_wh, cost: price", limit=50,
    options={"active": "--active/--ended"}, present=_of_transaction, example="--active")
add(app, "transaction", "read_transaction", words={"transaction_id": "TRANSACTION"}, example="5f3c --station CS-1")


def _bound(point: Fields) -> Fields:
    """Return limits for display: the lowest binds. While a set-point takes energy from the vehicle, no other does."""
    said = [
        (" ".join(filter(None, (each["name"].replace("_", " "), each["source"]))), each["power_w"])
        for each in point["bounds"]
    ]
    binds, power_w = said[0] if said else ("", None)
    others = ", ".join(f"{name} {power}" for name, power in said[1:])
    return {**point, "binds": binds, "power_w": power_w, "others": others}


add(app, "limits", "read_limits",
    "since: at_ms, binds, at most W: power_w, other limits: others, set-point W: setpoint_w", title="Limits",
    present=_bound, example="5f3c --station CS-V2G-0001")
add(app, "stop", "stop_transaction", example="5f3c")
add(app, "variables", "list_variables",
    "component, EVSE: evse_id, variable, instance: variable_instance, attribute, value, unit, may: mutability, "
    "after a reboot: after_reboot, reported: value_ms", limit=1000, words={"component": "[COMPONENT]"},
    text="List a station's variables as it last reported them.", example="CS-V2G-0001 ClockCtrlr")


def _moved_most(station: Fields) -> Fields:
    figures = sorted(station["figures"], key=lambda each: each["moved"])
    line = {**station, **(figures[-1] if figures else {})}
    return {name: f"{each:.3g}" if isinstance(each, float) else each for name, each in line.items()}


add(session_metrics, "list", "list_session_metrics",
    "station: station_id, drift, apart, EVSE: evse_id, figure, sessions, first, recent", present=_moved_most,
    text="List the stations with the figure that has moved most since their first sessions; with `--json` all "
    "figures.")
add(session_metrics, "reset", "reset_session_metrics", about=_FOUND)


def _limited(each: Fields) -> Fields:
    """Show a limit in its own unit, and no time for one that has held or will hold always."""
    amps = " / ".join(f"{one / 1000:g}" for one in each["phases_ma"] or ())
    return {
        **each, "limit": f"{amps} A" if amps else f"{each['limit_w']} W",
        "left": f"{each['left_w']} W" + (" in a phase" if amps else ""),
        "from_ms": each["from_ms"] or None, "until_ms": each["until_ms"] if each["until_ms"] < LAST_MS else None,
    }


add(app, "grid-limits", "list_grid_limits",
    "at: connection_point, direction, limit, flow W: flow_w, left, source", present=_limited,
    title="Limits of the grid")
add(app, "site-limits", "list_limits_of_site",
    "at: connection_point, direction, limit, flow W: flow_w, left, from: from_ms, until: until_ms, source",
    present=_limited, words={"site_id": "SITE"}, example="depot")
add(app, "fleets", "list_fleets", "id, import W: import_limit_w, export W: export_limit_w, active", title="fleets")
add(app, "fleet-bids", "list_fleet_bids",
    "id, from: start_ms, until: end_ms, direction, power W: power_w, price: price_per_kwh, called W: called_w, "
    "delivered Wh: delivered_wh, paid", words={"fleet_id": "FLEET"}, example="depot", title="Bids")

# -- telemetry

add(app, "telemetry", "list_telemetry",
    "vehicle: ev, in the log: log_name, boots, stored, duplicates, conflicts, quarantined, missing")
add(app, "quarantine", "list_telemetry_quarantine",
    "vehicle: ev, boot, record: seq, schema: schema_version, received: received_ms, why: reason", title="Quarantine",
    instead=Instead("--release", "release_telemetry_quarantine",
                    "Store records whose schema is now known; this also happens automatically."))
add(app, "telemetry-keys", "list_telemetry_keys", "key: number, made: made_ms", title="Keys of telemetry",
    instead=Instead("--new", "make_telemetry_key",
                    "Begin a new key, as when one may be known to somebody."))
add(app, "vehicles", "list_vehicles",
    "vehicle: ev, newest: at_ms, mode: context, charge (%): values.battery.soc, charging (W): values.charging.power, "
    "latitude: values.location.latitude, longitude: values.location.longitude",
    text="List the latest states of vehicles.")


def _scored(vehicle: Fields) -> Fields:
    words = (
        f"{each['name']} {each['value']:.3g} {each['unit']}{' !' if each['bad'] else ''}"
        f" (P {each['precision']:.0%}, R {each['recall']:.0%})"
        for each in vehicle["scores"]
    )
    return {**vehicle, "scores": ", ".join(words).replace("_", " ")}


add(app, "scores", "list_scores", "vehicle: ev, since: since_ms, scores, expected to stop it: downtime",
    present=_scored, title="Scores")
add(app, "score-drifts", "list_score_drifts", "quantity: name, changed by: share, vehicles", title="Drifts")
add(app, "erase", "erase_vehicle_telemetry", ask_always="Erase the telemetry of {ev}?")

# -- who may what

add(app, "tokens", "list_tokens",
    "type: token_type, token: id_token, status, group: terms.group_id, until: terms.expires_ms",
    example="--group fleet-7")
add(app, "token", "make_access_token", words={"name": "NAME"}, options=_SITES, defaults={"role": "viewer"},
    only="secret", text="Create a bearer token for the API; it is shown once.")
add(app, "audit", "list_audit",
    "when: at_ms, who: caller, what: operation, path, status, with: request", title="Audit log", limit=50,
    example="--limit 10")
add(users, "list", "list_users", "name, role, sites, second factor: second_factor, last login: login_ms")
add(users, "add", "add_user", words={"name": "NAME"}, options=_SITES, defaults={"role": "viewer"}, only="password",
    text="Let a person log in; prints a password, to be changed at the first login.",
    example="ada --role operator --site depot")
add(users, "reset", "reset_user", only="password", example="ada")
add(users, "role", "set_user_role", words={"role": "ROLE"}, options=_SITES, example="ada installer")
add(users, "remove", "remove_user", example="ada")

# -- certificates and trust lists (R217)

add(trust, "expiring", "list_expiring_certificates", "station: station_id, kind, until: until_ms", title="Certificates")
add(trust, "forecast", "read_certificate_forecast", "week: from_ms, kind, certificates", title="Certificates by week")
add(trust, "state", "read_trust_list_state")
add(trust, "fetch", "fetch_trust_list")
add(trust, "roots", "list_trusted_roots",
    "kinds, subject, until: until_ms, since: since_ms, removed: removed_ms, fingerprint", title="Roots of the list")
add(trust, "apply", "roll_out_roots", about={"station_ids": "Only these stations; else all.",
    "removes": "Also delete the roots that the list no longer has."}, example="--station-ids CS-1 --removes")
add(trust, "rollouts", "list_root_rollouts",
    "station: station_id, list: list_number, removes, state, detail, changed: changed_ms", title="Stations")
add(trust, "requests", "list_certificate_requests", "station: station_id, kind, since: since_ms, manual, issued",
    title="Requests")
add(trust, "request", "read_certificate_request", words=_KIND, example="CS-1 V2GCertificate")
add(trust, "issue", "issue_certificate_request", words={**_KIND, "pem": FromFile("The chain that the CA has issued.")},
    done="The certificate for {station_id} is delivered when it is connected.",
    example="CS-1 V2GCertificate chain.pem")
add(trust, "refuse", "refuse_certificate_request", words={**_KIND, "reason": "REASON"},
    done="The request of {station_id} is refused.", example='CS-1 V2GCertificate "no contract with the CA"')

# fmt: on


class _Api(TyperGroup):
    """A command for each operation, made when it is called or shown; one that only the back end asked knows, too."""

    def list_commands(self, ctx: object) -> list[str]:
        return [name.replace("_", "-") for name in operations()]

    def get_command(self, ctx: object, cmd_name: str) -> Any:
        name = cmd_name.replace("-", "_")
        known = operations().get(name) or _asked(ctx, name)
        if known is None:
            return None
        one = typer.Typer(name="api", rich_markup_mode="markdown", add_completion=False)
        add(one, cmd_name, known, whole=True)
        command = typer.main.get_command(one)
        command.name = cmd_name
        return command


def _asked(context: Any, name: str) -> ApiOperation | None:
    """Return an operation of the back end, which may be newer; None without one."""
    if context.resilient_parsing:
        return None
    try:
        client = client_of(context)
    except ConfigError:
        return None
    try:
        found = operations_of(client.ask("GET", "/openapi.json").body)
        return next((each for each in found if each.name == name), None)
    except V2GError as error:
        say(f"{error}: only the operations that this program knows were looked at", err=True)
        return None


api = typer.Typer(
    cls=_Api,
    name="api",
    no_args_is_help=True,
    help="Ask any operation of the API, by its name there.\n\nExample: `v2g csms api list-sites`",
)


@api.callback()
def _group() -> None:
    pass
