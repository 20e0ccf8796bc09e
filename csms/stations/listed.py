"""Every station in one list: those that ever connected, and those that are admitted, refused or waiting."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import msgspec
from sqlalchemy import Connection, func, select

from csms.admission.store import admissions
from csms.stations.tables import connectors, stations
from csms.transactions.tables import transactions

StationState = Literal[
    "Waits for admission", "Never connected", "Refused", "Offline", "Faulted", "Occupied", "Reserved", "Available",
    "Unavailable", "Connected",
]  # fmt: skip
"""What a station is, by the worst of its connectors; `Connected`: it has reported none."""

AWAY: Final = frozenset({"Waits for admission", "Never connected", "Refused", "Offline"})
"""States of stations without a connection."""

_NEED: Final[Mapping[str, int]] = {"Faulted": 0, "Waits for admission": 1, "Offline": 2, "Never connected": 3}


class ListedStation(msgspec.Struct, frozen=True, kw_only=True):
    """A station; texts are empty and times null where nothing is known. `sessions`: running ones."""

    station_id: str
    site: str
    state: StationState
    sessions: int
    vendor: str
    model: str
    firmware: str
    protocol: str
    last_seen_ms: int | None


def everything(
    connection: Connection, connected: Collection[str], site_of: Mapping[str, str], only: Collection[str] | None = None
) -> list[ListedStation]:
    """Return all stations, or only some, those first that need a person, then by identity."""
    worst: dict[str, set[str]] = {}
    for station_id, status in connection.execute(select(connectors.c.station_id, connectors.c.status)):
        worst.setdefault(station_id, set()).add(status)
    running = transactions.c.ended_ms.is_(None) & transactions.c.active.is_(True)
    by_station = select(transactions.c.station_id, func.count()).where(running).group_by(transactions.c.station_id)
    sessions = {row[0]: row[1] for row in connection.execute(by_station)}
    column = stations.c
    facts = (column.station_id, column.vendor, column.model, column.firmware, column.protocol, column.last_seen_ms)
    known = {row[0]: row for row in connection.execute(select(*facts))}
    tried = (admissions.c.station_id, admissions.c.boot, admissions.c.last_seen_ms)
    decided = {row[0]: row for row in connection.execute(select(*tried))}
    found = []
    for station_id in known.keys() | decided.keys():
        if only is not None and station_id not in only:
            continue
        row, decision = known.get(station_id), decided.get(station_id)
        state: StationState
        boot = decision[1] if decision is not None else "Accepted"
        if boot in ("Rejected", "Refused"):
            state = "Refused"
        elif row is None:
            state = "Never connected" if boot else "Waits for admission"
        elif station_id not in connected:
            state = "Offline"
        else:
            statuses = worst.get(station_id, set())
            order: Sequence[StationState] = ("Faulted", "Occupied", "Reserved", "Available", "Unavailable")
            state = next((each for each in order if each in statuses), "Connected")
        found.append(
            ListedStation(
                station_id=station_id,
                site=site_of.get(station_id, ""),
                state=state,
                sessions=sessions.get(station_id, 0),
                vendor=row[1] if row else "",
                model=row[2] if row else "",
                firmware=row[3] if row else "",
                protocol=row[4] if row else "",
                last_seen_ms=row[5] if row else decision[2] if decision else None,
            )
        )
    found.sort(key=lambda each: (_NEED.get(each.state, 9), each.station_id))
    return found


def fitting(rows: Sequence[ListedStation], text: str) -> list[ListedStation]:
    """Return those with a text anywhere."""
    text = text.lower()
    return [
        each
        for each in rows
        if text in f"{each.station_id}\0{each.site}\0{each.vendor} {each.model}\0{each.firmware}".lower()
    ]
