"""What drivers see: an EVSE with its tariff and its session, and a session with the lines of its cost."""

import msgspec
from sqlalchemy import Connection, select

from csms.sites import store as site_store
from csms.stations.tables import connectors
from csms.tariffs import store as tariffs
from csms.tariffs.store import Scope
from csms.transactions import store as transactions
from v2g import typed_json
from v2g.energy.price_plan import PricePlan
from v2g.energy.settlement.costing import Bill
from v2g.ocpp.messages.payment import DIRECT_PAYMENT
from v2g.typed_json import Fields


class DriversEvse(msgspec.Struct, frozen=True, kw_only=True):
    """An EVSE: states of its connectors, the tariff of who comes, and the running session, "" without one."""

    site: str
    statuses: frozenset[str]
    plan: PricePlan | None
    transaction_id: str


class DriversSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session: its transaction, the site, and its cost, so far or in total; `held`: amounts are checked by people."""

    site: str
    transaction: Fields
    cost: Bill | None
    held: bool


def evse(connection: Connection, station_id: str, evse_id: int) -> DriversEvse | None:
    """Return an EVSE that its station has reported, else None."""
    of = connectors.c
    rows = connection.execute(select(of.status).where((of.station_id == station_id) & (of.evse_id == evse_id)))
    statuses = frozenset(row.status for row in rows)
    if not statuses:
        return None
    running = [each for each in transactions.active(connection, station_id) if each.evse_id == evse_id]
    return DriversEvse(
        site=_site(connection, station_id, evse_id),
        statuses=statuses,
        plan=tariffs.find_plan(connection, Scope(station_id=station_id, evse_id=evse_id)),
        transaction_id=running[-1].transaction_id if running else "",
    )


def session(connection: Connection, station_id: str, transaction_id: str, now_ms: int) -> DriversSession | None:
    """Return a session with its cost until now, None if it is unknown."""
    found = transactions.find(connection, station_id, transaction_id)
    if found is None:
        return None
    stored = tariffs.cost(connection, station_id, transaction_id)
    booked = transactions.booked(connection, station_id, transaction_id)
    held, cost = found["held"] is not None, None
    if booked is not None and found["token_type"] != DIRECT_PAYMENT:  # which pays by the plan
        cost = Bill(currency=booked.currency, excl_tax=booked.net, incl_tax=booked.gross)
    elif stored is not None and stored["source"] == "station":
        cost = Bill(currency=stored["currency"], excl_tax=stored["excl_tax"], incl_tax=stored["incl_tax"])
    elif found["active"]:
        worked = tariffs.work_out(connection, station_id, transaction_id, now_ms)
        held, cost = (held, None) if worked is None else (held or worked.held, worked.bill)
    elif stored is not None:
        cost = typed_json.convert(stored["document"], Bill)
    site = _site(connection, station_id, found["evse_id"] or 0)
    return DriversSession(site=site, transaction=found, cost=None if held else cost, held=held)


def _site(connection: Connection, station_id: str, evse_id: int) -> str:
    """Return the site of an EVSE, "" without one."""
    for site in site_store.all_sites(connection):
        if any(each.station_id == station_id and evse_id in (0, each.evse_id) for each in site.places):
            return site.id
    return ""
