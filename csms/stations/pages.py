"""Stations: the list, one of them, and commands with their answers."""

import asyncio
from typing import Any, Final, NamedTuple

import msgspec

from csms.admission import api as admission
from csms.commands import api as commands
from csms.console.bulk import Question, Said, ask, picked, sure
from csms.console.listing import Column, Listing, show_list
from csms.console.visit import ROOT, Visit, action, page, place, segment
from csms.device_model import api as device_model
from csms.dispatch import api as dispatch
from csms.drivers import api as drivers
from csms.events import api as events
from csms.http.operations import Operation
from csms.http.pipeline import Answer
from csms.http.problems import ApiError, missing
from csms.remote_control import api as remote_control
from csms.requests.rules import unknown_action
from csms.sites import api as sites
from csms.sites.rules import Site
from csms.station_security import api as station_security
from csms.stations import api as stations
from csms.stations.importing import MOST_OCTETS, placed, read_stations
from csms.stations.listed import AWAY, ListedStation
from csms.transactions import api as transactions
from v2g import typed_json

_PAGE = 50
_FAILED: Final = frozenset({"Rejected", "Refused", "UnknownConnector", "UnlockFailed", "OngoingAuthorizedTransaction"})
"""Answers of stations that they will not."""


COLUMNS: Final = (
    Column("station", "Station", lambda row: row.station_id, href=lambda row: f"/stations/{segment(row.station_id)}"),
    Column("state", "State", lambda row: row.state, "state"),
    Column("site", "Site", lambda row: row.site, href=lambda row: f"/sites/{segment(row.site)}"),
    Column("sessions", "Sessions now", lambda row: row.sessions or None, "number"),
    Column("model", "Model", lambda row: f"{row.vendor} {row.model}".strip(), phone=False),
    Column("firmware", "Firmware", lambda row: row.firmware, phone=False),
    Column("protocol", "Protocol", lambda row: row.protocol, phone=False),
    Column("seen", "Last message", lambda row: row.last_seen_ms, "time"),
)
ACTS: Final = {
    "restart": ("Restart {count} stations?", "They restart when no session runs there.", "Restart when idle"),
    "out": (
        "Take {count} stations out of service?",
        "No session can begin there; running ones go on.",
        "Out of service",
    ),
    "into": ("Bring {count} stations back into service?", "Sessions can begin there.", "Into service"),
}
BULK: Final = {"restart": "Restart …", "out": "Out of service …", "into": "Into service …"}
_AT_ONCE: Final = 20


@page("/stations", stations.list_stations)
async def list_stations(visit: Visit) -> Answer:
    """List every station, those first that need a person: also those that never connected."""
    old = visit.asked("text", "status", "connected")  # of addresses of former versions
    asked = {"q": old["text"]} if "text" in old else {}
    asked |= (
        {"state": old.get("status", "Offline")} if old.keys() & {"status"} or old.get("connected") == "false" else {}
    )
    rows = await visit.find(tuple[ListedStation, ...], stations.list_every_station)
    undecided = await visit.ask(admission.list_admissions, undecided=True, limit=_PAGE)
    shown = Listing(
        title="Stations",
        columns=COLUMNS,
        rows=rows,
        asked=asked,
        tab="state",
        bulk=("/stations/change", BULK) if visit.may(device_model.reset_station) else None,
        empty="No station. One appears here when it tries to connect.",
        links={"/stations/import": "Add stations …"} if visit.may(admission.decide_station) else {},
    )
    known = [each for each in rows if each.protocol]  # as Today counts them: they have connected once
    counts = {"known": len(known), "away": sum(each.state in AWAY for each in known)}
    return await show_list(visit, shown, by=("site",), template="stations.html", counts=counts, undecided=undecided)


@action("/stations/change", device_model.reset_station)
async def change_stations(visit: Visit) -> Answer:
    """Ask what to do with several stations, and do it."""
    visit.back, do = f"{ROOT}/stations", visit.form.get("do", "")
    if do not in ACTS:
        raise ApiError(400, "an action is restart, out or into")
    known = {each.station_id: each for each in await visit.find(tuple[ListedStation, ...], stations.list_every_station)}
    keys = [each for each in picked(visit) if each in known]
    if not keys:
        raise ApiError(409, "no station is chosen", "choose some, by the boxes before them")
    text, effect, button = ACTS[do]
    away = [each for each in keys if known[each].state in AWAY]
    running = sum(known[each].sessions for each in keys)
    effects = [Said("{stations}", {"stations": ", ".join(keys[:_PAGE]) + (" …" if len(keys) > _PAGE else "")})]
    effects.append(Said(effect))
    effects.append(Said("Sessions that run there now: {count}", {"count": str(running)}))
    effects += [Said("Not connected, so it fails there: {stations}", {"stations": ", ".join(away)})] if away else []
    tick = do == "out"
    question = Question(text=text, values={"count": str(len(keys))}, effects=effects, button=button, tick=tick)
    if not sure(visit, len(keys)):
        return ask(visit, question, visit.back, len(keys), keys)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> Said | None:
        async with gate:
            try:
                if do == "restart":
                    found = await visit.ask(device_model.reset_station, {"type": "OnIdle"}, station_id=name)
                else:
                    wanted = "Inoperative" if do == "out" else "Operative"
                    found = await visit.ask(remote_control.change_availability, {"wanted": wanted}, station_id=name)
            except ApiError as error:
                return Said("{subject}: {detail}", {"subject": name, "detail": error.detail})
        status = str(found.get("status") or found.get("state") or "")
        return Said("{subject}: {detail}", {"subject": name, "detail": status}) if status in _FAILED else None

    results = dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))
    failed = {name: said for name, said in results.items() if said is not None}
    if failed:
        done = Said("{done} done, {failed} failed.", {"done": str(len(keys) - len(failed)), "failed": str(len(failed))})
        return ask(visit, question, visit.back, len(failed), list(failed), [done, *failed.values()])
    return visit.see(visit.back, "{count} stations: done.", count=len(keys))


@page("/stations/import", admission.decide_station)
async def ask_for_stations(visit: Visit) -> Answer:
    """Ask for a file with new stations."""
    return visit.show("import.html", text="", rows=[], count=0, failed=[])


@action("/stations/import", admission.decide_station, most_octets=2 * MOST_OCTETS)
async def import_stations(visit: Visit) -> Answer:
    """Show what a file would change, and what is wrong in it; then admit its stations, and put EVSEs at sites."""
    visit.back = f"{ROOT}/stations/import"
    octets = next(iter(visit.files.values()), b"") or visit.form.get("text", "").encode()
    if len(octets) > MOST_OCTETS:
        raise ApiError(413, "the file is too large", "split it")
    text = "\n".join(octets.decode("utf-8-sig", "replace").splitlines())
    places = [each async for each in visit.every(sites.list_sites)] if visit.may(sites.put_site) else []
    by_name = {each["id"]: typed_json.convert(each, Site) for each in places}
    known = [
        each.station_id
        for each in await visit.find(tuple[ListedStation, ...], stations.list_every_station)
        if each.state not in ("Waits for admission", "Refused")
    ]
    rows = read_stations(text, known, by_name)
    good = [each for each in rows if each.wrong is None]
    if not sure(visit, len(good)) or not good:
        return visit.show(
            "import.html", text=text, rows=sorted(rows, key=lambda each: each.wrong is None), count=len(good), failed=[]
        )
    failed: list[Said] = []
    for each in good:
        if not each.known:
            try:
                await visit.ask(admission.decide_station, {"decision": "Accepted"}, station_id=each.station)
            except ApiError as error:
                failed.append(Said("{subject}: {detail}", {"subject": each.station, "detail": error.detail}))
    for name in sorted({each.site for each in good} - {""}):
        site = placed(by_name[name], [each for each in good if each.site == name])
        try:
            await visit.ask(sites.put_site, msgspec.to_builtins(site), site_id=name)
        except ApiError as error:
            failed.append(Said("{subject}: {detail}", {"subject": name, "detail": error.detail}))
    if failed:
        return visit.show("import.html", text=text, rows=[], count=0, failed=failed)
    return visit.see(f"{ROOT}/stations", "{count} stations are added.", count=len(good))


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
    running: list[object] = []
    state = "Connected"
    if found is None:
        every = await visit.find(tuple[ListedStation, ...], stations.list_every_station)
        state = next((each.state for each in every if each.station_id == name), "")
        if not state and not faults:
            raise missing("station")
    if visit.may(transactions.list_transactions):
        running = await visit.ask(transactions.list_transactions, station_id=name, active=True, limit=20)
    secured = []
    if visit.may(station_security.list_security_events):
        secured = await visit.ask(station_security.list_security_events, station_id=name, limit=10)
    controls = []
    if found is not None and visit.may(dispatch.list_der_controls):
        controls = await visit.ask(dispatch.list_der_controls, station_id=name)
    return visit.show(
        "station.html",
        commands=sorted(name for name, each in COMMANDS.items() if visit.may(each)),
        name=name,
        station=found,
        faults=faults,
        running=running,
        secured=secured,
        controls=controls,
        state=state,
        drivers=await visit.ask(drivers.list_driver_pages, station_id=name) if found else [],
        steps=await _first_steps(visit, name, found, state),
    )


class FirstStep(NamedTuple):
    """A step of a new station's life, whether it is done, and what to do else."""

    text: str
    done: bool
    hint: str


async def _first_steps(visit: Visit, name: str, found: Any, state: str) -> list[FirstStep]:
    """Return the steps of a new station's life with what is missing; none where all are done."""
    begun = found is not None
    steps = [
        FirstStep("Admitted", begun or state == "Never connected", "Admit it, so that it may connect."),
        FirstStep(
            "Connected and accepted",
            begun and found["boot_status"] == "Accepted",
            "Enter the back end's address and its password or certificate at the station.",
        ),
        FirstStep(
            "Connectors reported", begun and bool(found["connectors"]), "It reports them by itself after its boot."
        ),
    ]
    if visit.may(sites.list_sites):
        every = [each async for each in visit.every(sites.list_sites)]
        there = any(place["station_id"] == name for site in every for place in site["places"])
        hint = "Add its EVSEs to a site, so that their power is balanced."
        steps.append(FirstStep("Behind a fuse of a site", there, hint))
    if visit.may(transactions.list_transactions):
        some = await visit.ask(transactions.list_transactions, station_id=name, limit=1)
        steps.append(FirstStep("First session", bool(some), "Charge a vehicle once."))
    return [] if all(each.done for each in steps) else steps


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
    failed = status in _FAILED
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
        body = typed_json.decode(visit.form.get("payload", "").strip() or "{}", Any)
    except msgspec.DecodeError as error:
        raise ApiError(400, f"the payload is not JSON: {error}") from None
    answer = await visit.ask(COMMANDS[wanted], body, station_id=name)
    shown = msgspec.json.format(msgspec.json.encode(answer)).decode()
    return visit.show("answer.html", name=name, action=wanted, lines=shown.splitlines())
