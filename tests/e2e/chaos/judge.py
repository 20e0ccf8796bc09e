"""Whether all that happened at a station is known at the back end: once, in order, with the energy that flowed."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from csms.tariffs.tables import transaction_costs
from csms.transactions.rules import Transaction
from csms.transactions.tables import held_transactions, transaction_events, transaction_faults, transactions
from tests.e2e.chaos.world import PRICE, Noted, World, stamp
from v2g.ocpp.messages.transactions import TransactionEventRequest
from v2g_station.blocks.transaction_records import for_201


def judge(world: World) -> int:
    """Check everything; return how many transactions there were."""
    noted: dict[str, list[Noted]] = defaultdict(list)
    for each in world.station.noted:
        noted[each.event.transaction_info.transaction_id].append(each)
    store = world.back_end.store
    reported = store.do(_events)
    assert reported.keys() == noted.keys(), "every transaction that was kept arrived, and no other"
    for transaction_id, events in noted.items():
        spoken = for_201 if world.setting.version == "2.0.1" else _as_it_is
        _in_order([spoken(each.event) for each in events], reported[transaction_id])
        _sane(events)
    _closed_once(world, store.do(_transactions))
    _energy(world, store.do(_transactions), store.do(_costs))
    _bounded(world)
    return len(noted)


def _events(connection: Connection) -> dict[str, list[TransactionEventRequest]]:
    found: dict[str, list[TransactionEventRequest]] = defaultdict(list)
    for row in connection.execute(select(transaction_events).order_by(transaction_events.c.id)):
        found[row.transaction_id].append(msgspec.json.decode(row.document, type=TransactionEventRequest))
    return found


def _transactions(connection: Connection) -> dict[str, Transaction]:
    rows = connection.execute(select(transactions.c.transaction_id, transactions.c.document))
    return {row.transaction_id: msgspec.json.decode(row.document, type=Transaction) for row in rows}


def _faults(connection: Connection) -> list[tuple[str, int, str]]:
    there = transaction_faults.c
    return [tuple(row) for row in connection.execute(select(there.kind, there.seq_no, there.detail))]


def _held(connection: Connection) -> dict[str, Any]:
    return {row.transaction_id: row for row in connection.execute(select(held_transactions))}


def _costs(connection: Connection) -> dict[str, Any]:
    return {row.transaction_id: row for row in connection.execute(select(transaction_costs))}


def _as_it_is(event: TransactionEventRequest) -> TransactionEventRequest:
    return event


def _in_order(kept: list[TransactionEventRequest], reported: list[TransactionEventRequest]) -> None:
    """What was kept is what arrived, each once, in its order, from Started to Ended."""
    assert [each.seq_no for each in kept] == list(range(len(kept)))
    whole = [msgspec.structs.replace(each, offline=False) for each in reported]
    assert whole == [msgspec.structs.replace(each, offline=False) for each in kept]
    assert [each.event_type for each in reported] == ["Started", *["Updated"] * (len(reported) - 2), "Ended"]


def _sane(events: list[Noted]) -> None:
    """Every time is the one that the station's clock showed; nobody charged for longer than he was there."""
    for each in events:
        assert stamp(each.event) == each.utc_ms
        assert all(value.timestamp <= each.event.timestamp or each.jumps for value in each.event.meter_value), each
    spent = events[-1].event.transaction_info.time_spent_charging
    assert spent is not None
    assert 0 <= spent <= (events[-1].elapsed_ms - events[0].elapsed_ms) / 1000, "by the time that passed"


def _closed_once(world: World, found: dict[str, Transaction]) -> None:
    for each in found.values():
        assert not each.active
        assert each.closed_ms is None, "the station ended it, nobody else"
        assert (each.first_seq, each.ended_seq) == (0, each.last_seq)
    assert not world.back_end.events.named("transaction_closed")
    faults = world.back_end.store.do(_faults)
    forgiven = {"clock_backwards"} if world.clock.jumped else set()
    unforgiven = [each for each in faults if each[0] not in forgiven]
    assert not unforgiven, unforgiven


def _energy(world: World, found: dict[str, Transaction], costs: dict[str, Any]) -> None:
    """What is billed is what the meters counted, or held where a clock was set; nothing flowed beside transactions."""
    taken: dict[int, Decimal] = defaultdict(Decimal)
    held = world.back_end.store.do(_held)
    for transaction_id, each in found.items():
        assert each.evse_id is not None
        if each.import_start_wh is None or each.import_wh is None:
            continue
        energy_wh = Decimal(each.import_wh.value) - Decimal(each.import_start_wh.value)
        taken[each.evse_id] += energy_wh
        exact = energy_wh / 1000 * PRICE * 1_000_000
        if transaction_id in held:
            assert transaction_id not in costs
            assert held[transaction_id].reason == "clock", held[transaction_id].detail
            assert world.clock.jumped or world.back_end.clock.jumped, held[transaction_id].detail
            continue
        assert abs(costs[transaction_id].incl_tax - exact) < 1, (transaction_id, energy_wh)
        assert costs[transaction_id].final
    for number, bay in world.station.site.bays.items():
        assert taken[number] * 1000 == bay.import_mwh, (number, taken[number], bay.import_mwh)


def _bounded(world: World) -> None:
    saved = world.station.runner.core
    assert len(saved.outbox) == 0
    world.station.memory.flush()
    kept = world.station.memory.saved()
    assert not kept.get("transactions")
    assert not kept.get("refused"), "nothing was given up"
    assert sum(map(len, kept.values())) < 200
