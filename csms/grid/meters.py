"""What meters of chargers, and one at the grid connection, read behind a connection point."""

from decimal import Decimal
from typing import Final

from sqlalchemy import Connection

from csms.booking import held
from csms.grid.limits import behind
from csms.sites import store as site_store
from csms.transactions.powers import connection_readings, powers, samples_with_power
from csms.transactions.rules import OUTLET, Dated, flowing_w, reading_at
from v2g.energy.conductors import LINE_NAMES
from v2g.energy.grid_signal import ConnectionPoint
from v2g.hardware.energy_manager.commands import ConnectionReading

_PLACES: Final = (OUTLET, "Inlet")
"""Where chargers measure alternating voltage and reactive power."""
_MOST_V: Final = 1_000
"""Chargers are supplied by low voltage."""


def connection_at(connection: Connection, point: ConnectionPoint, since_ms: int) -> ConnectionReading:
    """Return what a meter at the grid connection has read since; nothing without one, or with several that may be."""
    there = behind(site_store.all_sites(connection), point)
    read = [each for station_id, each in connection_readings(connection, since_ms).items() if there(station_id, None)]
    return read[0] if len(read) == 1 else ConnectionReading()


def measured(
    connection: Connection, chargers: ConnectionPoint, point: ConnectionPoint, since_ms: int
) -> dict[str, float]:
    """Return what was measured since, by the names of `READING_TYPES`, of chargers and at the grid connection `point`.

    What is not measured, or of one vehicle not, is left out: voltages are means of the chargers that measure them.
    """
    sites = site_store.all_sites(connection)
    there = behind(sites, chargers)
    phases = {(place.station_id, place.evse_id): place.phases for site in sites for place in site.places}
    running = [each for each in powers(connection, since_ms=since_ms) if there(each.station_id, each.evse_id)]
    rated = held.ratings(connection, {(each.station_id, each.evse_id) for each in running})
    samples = samples_with_power(connection, running)
    watts, var = [each.watts for each in running], []
    volts: dict[str, list[float]] = {line: [] for line in LINE_NAMES}
    for each in running:
        found = samples.get((each.station_id, each.transaction_id), ())
        read = [reading_at(found, place) for place in _PLACES]
        reactive = next((at.reactive_var for at in read if at.reactive_var is not None), None)
        known = reactive is not None and rated[each.station_id, each.evse_id].permits(Decimal(abs(reactive)))
        dated = Dated(each.power_w.seq_no, str(reactive)) if known and each.power_w is not None else None
        var.append(None if dated is None else flowing_w(dated, each.charging_state))
        volts_at = next((at.voltage_v for at in read if set(at.voltage_v) != {None}), ())
        for line, volt in zip(phases.get((each.station_id, each.evse_id or 0), LINE_NAMES), volts_at, strict=False):
            if volt is not None and 0 <= volt <= _MOST_V:
                volts[line].append(volt)
    site = connection_at(connection, point, since_ms)
    values = {
        "der power": None if None in watts else -sum(float(each or 0) for each in watts),
        "der reactive power": None if not var or None in var else -sum(float(each or 0) for each in var),
        **{f"der voltage {line}": sum(each) / len(each) if each else None for line, each in volts.items()},
        "site power": site.power_w,
        "site reactive power": site.reactive_var,
        **{f"site voltage {line}": each for line, each in zip(LINE_NAMES, site.voltage_v, strict=True)},
    }
    return {name: value for name, value in values.items() if value is not None}
