"""Stations: the list, one of them, and commands with their answers."""

from typing import Any

import msgspec

from csms.admission import api as admission
from csms.console.visit import ROOT, Visit, action, page, place
from csms.device_model import api as device_model
from csms.events import api as events
from csms.http.operations import Operation
from csms.http.pipeline import Answer
from csms.http.problems import ApiError, missing
from csms.remote_control import api as remote_control
from csms.requests import api as commands
from csms.requests.rules import unknown_action
from csms.station_security import api as station_security
from csms.stations import api as stations
from csms.transactions import api as transactions

_PAGE = 50


@page("/stations", stations.list_stations)
async def list_stations(visit: Visit) -> Answer:
    """List stations by filter, with those that wait for admission first."""
    asked = visit.asked("text", "status", "connected")
    found, following = await visit.page(stations.list_stations, limit=_PAGE, **asked, **visit.asked("cursor"))
    undecided = await visit.ask(admission.list_admissions, undecided=True, limit=_PAGE)
    return visit.show("stations.html", stations=found, next=following, asked=asked, undecided=undecided)


@page("/stations/{station_id}", stations.read_station)
async def one_station(visit: Visit) -> Answer:
    """Show a station, also one that never could connect: then why."""
    name = visit.path["station_id"]
    try:
        found = await visit.ask(stations.read_station, station_id=name)
    except ApiError as error:
        if error.status != 404:
            raise
        found = None
    faults = await visit.ask(admission.list_connection_faults, station_id=name, limit=5)
    running: list[Any] = []
    if found is None and not faults:
        waiting = await visit.ask(admission.list_admissions, undecided=True, limit=1000)
        if all(each["station_id"] != name for each in waiting):
            raise missing("station")
    if visit.may(transactions.list_transactions):
        running = await visit.ask(transactions.list_transactions, station_id=name, active=True, limit=20)
    secured = []
    if visit.may(station_security.list_security_events):
        secured = await visit.ask(station_security.list_security_events, station_id=name, limit=10)
    variables, more = await visit.page(device_model.list_variables, station_id=name, limit=200, **visit.asked("cursor"))
    return visit.show(
        "station.html",
        commands=sorted(name for name, each in COMMANDS.items() if visit.may(each)),
        name=name,
        station=found,
        faults=faults,
        running=running,
        variables=variables,
        next=more,
        secured=secured,
    )


@page("/stations/{station_id}/log", events.stream_frames)
async def show_log(visit: Visit) -> Answer:
    """Show a station's OCPP frames from now on."""
    name = visit.path["station_id"]
    await visit.ask(stations.read_station, station_id=name)
    return visit.show("log.html", name=name)


@page("/stations/{station_id}/frames", events.stream_frames)
async def stream_frames(visit: Visit) -> Answer:
    """Stream a station's OCPP frames."""
    return await visit.stream(events.stream_frames, {"station_id": visit.path["station_id"]})


async def _command(visit: Visit, operation: Operation, body: object = None, **more: object) -> Answer:
    """Send a command; the next page shows what the station answered."""
    name = visit.path["station_id"]
    visit.back = place("stations", name)
    found = await visit.ask(operation, body, station_id=name, **more)
    status, info = found.get("status") or found.get("decision") or found.get("state", ""), found.get("statusInfo") or {}
    reason = " ".join(filter(None, (info.get("reasonCode"), info.get("additionalInfo"))))
    failed = status in ("Rejected", "Refused", "UnknownConnector", "UnlockFailed", "OngoingAuthorizedTransaction")
    said = {"what": visit.form.get("what", "Answer"), "status": status}
    return visit.see(visit.back, "{what}: {status}" if status else "{what}: sent", reason, failed=failed, **said)


@action("/stations/{station_id}/reset", device_model.reset_station)
async def reset(visit: Visit) -> Answer:
    """Have a station restart."""
    return await _command(visit, device_model.reset_station, {"type": visit.form.get("type", "OnIdle")})


@action("/stations/{station_id}/availability", remote_control.change_availability)
async def change_availability(visit: Visit) -> Answer:
    """Take a station out of service, or bring it back."""
    return await _command(visit, remote_control.change_availability, {"wanted": visit.form.get("wanted", "Operative")})


@action("/stations/{station_id}/unlock/{evse_id}/{connector_id}", remote_control.unlock_connector)
async def unlock(visit: Visit) -> Answer:
    """Unlock a connector."""
    which = {name: visit.path[name] for name in ("evse_id", "connector_id")}
    return await _command(visit, remote_control.unlock_connector, **which)


@action("/stations/{station_id}/admission", admission.decide_station)
async def decide(visit: Visit) -> Answer:
    """Admit a station, or refuse it."""
    decision = visit.form.get("decision", "")
    name = visit.path["station_id"]
    visit.back = f"{ROOT}/stations"
    await visit.ask(admission.decide_station, {"decision": decision}, station_id=name)
    return visit.see(visit.back, "{name}: {decision}", name=name, decision=decision)


@action("/stations/{station_id}/start", remote_control.start_transaction)
async def start(visit: Visit) -> Answer:
    """Start a session for a token."""
    name, form = visit.path["station_id"], visit.form
    visit.back = place("stations", name)
    token = {"idToken": form.get("token", ""), "type": form.get("type", "Central")}
    body: dict[str, object] = {"id_token": token}
    if form.get("evse_id"):
        try:
            body["evse_id"] = int(form["evse_id"])
        except ValueError:
            raise ApiError(400, "the EVSE is a number") from None
    found = await visit.ask(remote_control.start_transaction, body, station_id=name)
    status = found["response"]["status"]
    return visit.see(visit.back, "Start: {status}", failed=status != "Accepted", status=status)


COMMANDS = {each.name.removeprefix("command_"): each for each in commands.OPERATIONS}
"""Every request of OCPP, by its action."""


@action("/stations/{station_id}/command", COMMANDS["TriggerMessage"])
async def command(visit: Visit) -> Answer:
    """Send any request of OCPP, and show the station's answer as it is."""
    name, wanted = visit.path["station_id"], visit.form.get("action", "")
    visit.back = place("stations", name)
    if wanted not in COMMANDS:
        raise ApiError(404, *unknown_action(wanted))
    try:
        body = msgspec.json.decode(visit.form.get("payload", "").strip() or "{}")
    except msgspec.DecodeError as error:
        raise ApiError(400, f"the payload is not JSON: {error}") from None
    answer = await visit.ask(COMMANDS[wanted], body, station_id=name)
    shown = msgspec.json.format(msgspec.json.encode(answer)).decode()
    return visit.show("answer.html", name=name, action=wanted, lines=shown.splitlines())
