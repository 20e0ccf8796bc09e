"""How long the limits of a connection point take to share over thousands of stations: one transaction of the store."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy import Connection, insert, update

from benchmarks.figures import Figure, median
from csms.db.store import Store
from csms.grid.store import share_all
from csms.grid.tables import grid_shares
from csms.smart_charging.rules import Needs
from csms.stations.tables import stations
from csms.transactions.rules import Dated, Transaction
from csms.transactions.tables import transactions
from v2g.energy.grid_signal import GridLimit

ABOUT = "sharing a limit over 10,000 stations, with a vehicle at every other one that needs another power each"
REQUIREMENTS = ("R193",)

STATIONS: Final = 10_000
TARGET_S: Final = 1.0
"""CPU; nothing else can be written meanwhile."""
NOW_MS: Final = 1_800_000_000_000


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield the time of the first sharing, of one without changes, and of one by a lower limit."""
    count = 200 if quick else STATIONS
    with tempfile.TemporaryDirectory(prefix="v2g-shares-") as folder:
        store = Store(f"sqlite:///{Path(folder)}/csms.sqlite3")
        store.do(_fill, count)
        for figure, share, calls in (("first", 1.0, 1), ("nothing has changed", 1.0, 5), ("a lower limit", 0.9, 1)):
            limits = [
                GridLimit(direction="import", limit_w=round(count * 900 * share)),
                GridLimit(direction="export", limit_w=round(count * 400 * share)),
            ]
            spans = []
            for _ in range(calls):
                begin = time.process_time()
                store.do(share_all, limits, {_name(number) for number in range(count)}, NOW_MS)
                spans.append(time.process_time() - begin)
            yield Figure(f"{count} stations, {figure}", median(spans), "s", target=TARGET_S)
            store.do(_accept)
        store.close()


def _name(number: int) -> str:
    return f"CS-{number:05}"


def _fill(connection: Connection, count: int) -> None:
    seen = {"first_seen_ms": NOW_MS, "last_seen_ms": NOW_MS, "protocol": "2.1"}
    connection.execute(insert(stations), [seen | {"station_id": _name(number)} for number in range(count)])
    rows = []
    for number in range(0, count, 2):
        about = Transaction(
            station_id=_name(number), transaction_id="t", first_seq=0, last_seq=1, started_seq=0, started_ms=NOW_MS,
            evse_id=1, charging_state=Dated(1, "Charging"), power_w=Dated(1, "900"),
        )  # fmt: skip
        needs = Needs(evse_id=1, requested="DC_BPT", most_w=11_000 + number * 7919 % 40_000, most_discharge_w=9_000)
        rows.append({
            "station_id": about.station_id, "transaction_id": "t", "active": True, "started_ms": NOW_MS,
            "heard_ms": NOW_MS, "document": msgspec.json.encode(about).decode(),
            "needs": msgspec.json.encode(needs).decode(),
        })  # fmt: skip
    connection.execute(insert(transactions), rows)


def _accept(connection: Connection) -> None:
    there = grid_shares.c
    connection.execute(update(grid_shares).values(held_import_w=there.import_w, held_export_w=there.export_w))
