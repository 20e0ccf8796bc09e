"""Two sites, each with a station that has done everything: rows of both in every table that says whose it is."""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Connection, insert, or_, select, update

from csms.books.tables import facts, postings
from csms.db.schema import metadata
from csms.grid.signal_delivery import Pusher
from csms.http.operations import Operation
from csms.http.routes import OPERATIONS, interface
from csms.ocpp.server import HANDLES
from csms.settlements.journals import JournalStore
from tests.csms.api.support import ApiClient
from tests.csms.charging import Charging
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from tests.csms.settlement.journals import T0, journal
from tests.csms.settlement.witness import witness
from tests.ocpp.official import maximal, minimal, schema
from v2g.ocpp.routes import UNCONFIRMED, known

NORTH, SOUTH = "north", "south"
BEGIN_MS: Final = 1_899_900_000_000
"""When the stations connect: what examples name is in the future."""

LATER_MS: Final = T0 + 2_200_000
"""When all of it has happened."""

OWNERS: Final = ("station_id", "site_id", "fleet_id", "subject")
"""Columns that say whose a row is."""

_SHARED: Final = {"transaction_id": "x" * 36, "session_id": "cc" * 8, "name": "night"}
"""Ids that both stations have used, and the name of the template of both."""

_FIRST: Final = ("make_tariff", "put_site")
_NOT_SENT: Final = re.compile(
    "command_|clear_|make_backup|revoke|cancel|close|stop_|balance_|dispatch_setpoint|correct_|reprice_|sign_|telemetry|.*user|.*token"
)
_MOST: Final = 60_000


def station_of(site: str) -> str:
    """Return the station of a site."""
    return f"CS-{site.upper()}"


def values_of(site: str) -> dict[str, str]:
    """Return what parameters name of a site."""
    number, session = {NORTH: ("1", "aa" * 8), SOUTH: ("2", "bb" * 8)}[site]
    return {
        "station_id": station_of(site),
        "station": station_of(site),
        "site_id": site,
        "fleet_id": site,
        "transaction_id": f"tx-{session}",
        "session_id": session,
        "subject": station_of(site),
        "request_id": f"{number}0001",
        "webhook_id": f"webhook-{site}",
        "reservation_id": number,
        "alert_id": number,
        "silence_id": number,
        "campaign_id": number,
        "mandate_id": number,
        "exclusion_id": number,
        "cause": "vandalism",
        "certificate_kind": "V2GCertificate",
        "from_ms": "0",
        "to_ms": "2",
        "from_day": "2000-01-01",
        "to_day": "2100-01-01",
        "plan_id": "day-night",
        "limit": "1",
    }


def named(text: str, site: str) -> set[str]:
    """Return what a text names of a site: its station, its sessions, the site itself or what is called after it."""
    return {each for each in (station_of(site), values_of(site)["session_id"], site) if each in text}


def asked(operation: Operation, *sites: str) -> Iterator[str]:
    """Yield paths of an operation: all mixtures of what parameters name of these sites, with and without filters."""
    fields = () if operation.parameters is None else msgspec.structs.fields(operation.parameters)
    return mixed(operation.path, {each.name: each.required for each in fields}, *sites)


def mixed(path: str, names: Mapping[str, bool], *sites: str) -> Iterator[str]:
    """Yield a path with all mixtures of what parameters, required ones and others, name of these sites."""
    choices: dict[str, list[str]] = {}
    for name, required in names.items():
        found = [values[name] for values in (*map(values_of, sites), _SHARED) if name in values]
        choices[name] = list(dict.fromkeys(found if required else ["", *found])) or ["1"]
    for chosen in product(*choices.values()):
        given = dict(zip(choices, chosen, strict=True))
        query = "&".join(f"{name}={value}" for name, value in given.items() if value and f"{{{name}}}" not in path)
        yield path.format_map(given) + (f"?{query}" if query else "")


@cache
def _paths() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(interface())["paths"]
    return found


def body_of(operation: Operation, site: str) -> Any:
    """Return the example of an operation's body, about a site."""
    documented = _paths()[operation.path][operation.method.lower()]
    example = documented.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    text = json.dumps(example).replace('"depot"', f'"{site}"').replace("1893456000000", "1993456000000")
    text = text.replace('"alert_ids": [1]', f'"alert_ids": [{values_of(site)["alert_id"]}]')
    text = text.replace('"duration_s": 900', '"duration_s": 9000')  # prices last until the test reads
    text = re.sub('"(site_import|export)_limit_w": [0-9]+', r'"\1_limit_w": 10000000', text)  # else sites share it
    return json.loads(re.sub('"CS-(V2G-000)?1"', f'"{station_of(site)}"', text))


async def build(ask: ApiClient, site: str) -> ScriptedStation:
    """Build a site whose station has sent every message, and has been sent what operations have examples of."""
    ask.backend.clock.now_ms, station = BEGIN_MS, station_of(site)
    assert (await ask("PUT", f"/admissions/{station}", {"decision": "Accepted"})).status == 200
    peer = await ask.backend.booted(station, version="2.1")
    answered = (known("2.1") - HANDLES - {"GetChargingProfiles"}) | {"DataTransfer"}  # has none to report
    peer.answers |= {action: _least(f"{action}Response") for action in answered}
    charging = Charging(ask.backend, peer)
    charging.id = f"running-{site}"
    await charging.event("Started", "CablePluggedIn", state="Charging", context="Transaction.Begin")
    for action in sorted((HANDLES & known("2.1")) - UNCONFIRMED - {"BootNotification"}):
        root = schema(f"{action}Request", "2.1")
        for payload in (minimal(root, root), maximal(root, root)):
            if len(json.dumps(payload)) < _MOST:
                await _call(peer, action, payload)
    await _order(ask, site)
    ask.backend.clock.now_ms = LATER_MS
    await _settle(ask, site)
    await ask.backend.services.store.run(_rest, site)
    await _pushed()
    peer.calls.clear()
    return peer


def _least(name: str) -> Payload:
    root = schema(name, "2.1")
    found: Payload = minimal(root, root)
    return found


async def _pushed() -> None:
    """Wait until stations have their limits and prices, and that is noted."""
    async with asyncio.timeout(60):
        while running := [each for each in asyncio.all_tasks() if each.get_name() == Pusher.run.__qualname__]:
            await asyncio.wait(running)


async def _call(peer: ScriptedStation, action: str, payload: Payload) -> None:
    try:
        await peer.call(action, payload)
    except Refused as refusal:
        if refusal.code == "InternalError":
            raise


async def _settle(ask: ApiClient, site: str) -> None:
    """Deliver journals of sessions: one that is booked, one that waits, and one with an id of both sites."""
    services, station = ask.backend.services, station_of(site)
    booked = values_of(site)["session_id"]
    for session in (booked, booked[:-2], _SHARED["session_id"]):
        lines = journal(session, station, emaid=f"DEV2GC{values_of(site)['mandate_id']:0>8}")
        if session == booked:
            await services.store.run(witness, lines, station, session)
        text = [line.decode().removesuffix("\n") for line in lines]
        await services[JournalStore].deliver(station, {"stationId": station, "sessionId": session, "lines": text})


async def _order(ask: ApiClient, site: str) -> None:
    """Send every operation that creates or changes something, with its example."""
    sent = [each for each in OPERATIONS if each.method in ("PUT", "POST") and not _NOT_SENT.match(each.name)]
    for each in sorted(sent, key=lambda each: each.name not in _FIRST):
        answer = await ask(each.method, next(asked(each, site)), body_of(each, site))
        assert answer.status < 500, (each.name, answer.body)


def _rest(connection: Connection, site: str) -> None:
    """Store what only time, or a peer, would make: a row in every table that says whose it is and has none yet."""
    number = int(values_of(site)["mandate_id"])
    column = facts.c
    itself = {"against_station": column.station_id, "against_source": column.source, "against_id": column.source_id}
    connection.execute(update(facts).where(column.station_id == station_of(site)).values(**itself))
    given = {
        **values_of(site),
        "id": number,
        "number": number,
        "subject_kind": "station",
        "severity": "error",
        "kind": "station_offline",
        "reasons": "[]",
        "bounds": "[]",
        "announced": "raised",
        "sealed_secret": "",
        "kinds": "[]",
        "currency": "EUR",
        "enabled": False,
    }
    posted = select(postings.c.id).where(postings.c.station_id == station_of(site))
    given["posting_id"] = connection.execute(posted).scalars().first()
    for table in metadata.sorted_tables:
        whose = next((name for name in OWNERS if name in table.c), None)
        if table.name not in _ALWAYS and (whose is None or _has(connection, table.c[whose], values_of(site)[whose])):
            continue
        states = {
            "debits": "done", "direct_payments": "settled", "mandates": "active", "root_rollouts": "Done",
            "template_drift": "differs",
        }  # fmt: skip
        given["state"] = states.get(table.name, "Accepted")
        row = {each.name: given.get(each.name, _default(each, site)) for each in table.c if not each.nullable}
        row |= {"status": "Used"} if table.name == "station_certificates" else {}
        row |= {"kind": "V2GCertificate"} if table.name == "enrolments" else {}
        if table.name == "fleet_bids":
            row["document"] = _bid_of(site)
        if table.name == "fleet_quarters":  # long enough ago for a forecast
            row["at_ms"] = LATER_MS - 10 * 86_400_000
        connection.execute(insert(table).values({**row, **({whose: values_of(site)[whose]} if whose else {})}))


def _bid_of(site: str) -> str:
    given = {"start_ms": 1, "end_ms": 2, "direction": "up", "power_w": 1, "price_micro_per_kwh": 1}
    return json.dumps({"id": f"{site} bid_id", "fleet_id": site, "gate_closure_ms": 0, **given})


_ALWAYS: Final = frozenset({"debits", "mandates", "request_parts", "station_requests", "webhooks"})
"""Tables whose rows `values_of` has to name, or that say whose they are by those of another table."""


def _has(connection: Connection, column: Column[Any], value: str) -> bool:
    return connection.execute(select(column).where(column == value)).first() is not None


def _default(column: Column[Any], site: str) -> object:
    """Return a value that a column takes."""
    kind = column.type.python_type
    if kind is str and column.name in ("document", "extra", "detail"):
        return json.dumps({"of": site})
    if kind is str:
        return f"{site} {column.name}"[: getattr(column.type, "length", None) or 99]
    return b"{}" if kind is bytes else kind(1)


def rows_of(connection: Connection, site: str) -> dict[str, list[Any]]:
    """Return all rows that say they are of a site, by table; fails for a table that says whose it is and has none."""
    found = {}
    for table in metadata.sorted_tables:
        owners = [name for name in OWNERS if name in table.c]
        if owners and table.name not in ("users",):
            mine = or_(*(table.c[name] == values_of(site)[name] for name in owners))
            found[table.name] = [tuple(row) for row in connection.execute(select(table).where(mine))]
            assert found[table.name], f"{table.name}: {site} has no row there"
    return found
