"""Transactions that are held: their amounts are in no total until a person releases them.

What is found out about a transaction that has ended is stored with the event or decision that ends it, so that no
report ever has an amount that was not judged.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, tuple_, update

from csms.booking import ledger, plausibility
from csms.booking.facts import Fact, evse_key, held_by, of_session
from csms.db.base import AnyRow
from csms.db.bulk import delete_rows
from csms.device_model.store import device_variables
from csms.smart_charging.limits_in_force import MARGIN_MS, LimitInForce, Steps, permitted
from csms.smart_charging.tables import limits_in_force
from csms.tariffs import plans
from csms.tariffs.tables import transaction_costs
from csms.tokens.rules import CONTRACT, normalise
from csms.transactions.rules import Transaction, missing, read_transaction, readings
from csms.transactions.signed_values import JudgedSamples
from csms.transactions.tables import held_transactions, transaction_events, transaction_faults, transactions
from v2g import typed_json
from v2g.energy.price_plan import PricePlan, When
from v2g.errors import RefusedError
from v2g.typed_json import Fields

_STATIONS = 500
"""So many stations are named in a query."""

Place = tuple[str, int | None]
"""A station and its EVSE."""

OPEN: Final = ("quarantined", "rejected")
"""States of held transactions whose amounts are in no total."""

_decode_samples = typed_json.decoder(tuple[JudgedSamples, ...]).decode


class _Info(msgspec.Struct, frozen=True, rename="camel"):
    charging_state: str | None = None


class _Evse(msgspec.Struct, frozen=True):
    id: int


class _Usage(msgspec.Struct, frozen=True):
    energy: float


class _CostDetails(msgspec.Struct, frozen=True, rename="camel"):
    total_usage: _Usage
    failure_to_calculate: bool | None = None

    @property
    def energy_wh(self) -> float | None:
        return None if self.failure_to_calculate else self.total_usage.energy


class _Document(msgspec.Struct, frozen=True, rename="camel"):
    """What a stored event says beside its columns."""

    transaction_info: _Info = _Info()
    evse: _Evse | None = None
    cost_details: _CostDetails | None = None


def events_of(connection: Connection, station_id: str, transaction_id: str) -> list[plausibility.ReceivedEvent]:
    """Return the events of a transaction, by seqNo."""
    there = transaction_events.c
    rows = connection.execute(
        select(transaction_events)
        .where((there.station_id == station_id) & (there.transaction_id == transaction_id))
        .order_by(there.seq_no)
    )
    found = []
    for row in rows:
        try:
            document = typed_json.decode(row.document, _Document)
        except msgspec.ValidationError:  # not of this form: nothing is known beside its columns
            document = _Document()
        state = document.transaction_info.charging_state
        found.append(
            plausibility.ReceivedEvent(
                seq_no=row.seq_no,
                kind=row.kind,
                at_ms=row.at_ms,
                received_ms=row.received_ms,
                offline=row.offline,
                earliest_ms=row.earliest_ms,
                charging=None if state is None else state == "Charging",
                evse_id=None if document.evse is None else document.evse.id,
                cost_wh=None if document.cost_details is None else document.cost_details.energy_wh,
                samples=_decode_samples(row.samples),
            )
        )
    return found


def judged(connection: Connection, transaction: Transaction, end_ms: int) -> plausibility.JudgedUsage:
    """Return what a transaction used up to its end or, before that, `end_ms`."""
    events = events_of(connection, transaction.station_id, transaction.transaction_id)
    if transaction.ended_ms is None and not transaction.active and events:
        end_ms = max(each.at_ms for each in events)
    return plausibility.judge_usage(transaction, events, end_ms, _context(connection, transaction, events))


def review(connection: Connection, transaction: Transaction, now_ms: int) -> plausibility.JudgedUsage:
    """Judge a transaction that has ended, alone and beside all others, and note whether it is held.

    What a person has decided stays as long as the findings do, and the energy that was shown.
    """
    found = judged(connection, transaction, now_ms)
    place = transaction.station_id, transaction.transaction_id
    findings = found.findings
    if {each.reason for each in findings} == {"unpriced"}:
        priced = [plan for _, plan in plans.plans_of(connection, transaction)]
        if all(plan.energy is None and plan.export is None for plan in priced):
            findings = ()  # what costs nothing by energy needs no reading
    # what the transaction says about its EVSE and its contract
    kind, token = transaction.token_type, transaction.id_token
    is_contract = token is not None and kind is not None and kind.value == CONTRACT
    evse = Fact(
        kind="evse",
        key=evse_key(transaction.station_id, transaction.evse_id or 0),
        station_id=transaction.station_id,
        evse_id=transaction.evse_id or 0,
        source="transaction",
        source_id=transaction.transaction_id,
        transaction_id=transaction.transaction_id,
        from_ms=found.usage.start_ms,
        to_ms=found.usage.end_ms,
        imports=found.imports,
        exports=found.exports,
    )
    facts = of_session(evse, normalise(CONTRACT, token.value) if token is not None and is_contract else "")
    against = ledger.find_contradiction(connection, facts)
    began_ms, ended_ms = transaction.started_ms, transaction.ended_ms
    moved = (began_ms, ended_ms) != (found.usage.start_ms, found.usage.end_ms)
    if against is None and not found.timed and moved and began_ms is not None and ended_ms is not None:
        as_told = {"from_ms": began_ms, "to_ms": ended_ms, "imports": None, "exports": None}
        against = ledger.find_contradiction(connection, [msgspec.structs.replace(each, **as_told) for each in facts])
    if against is not None:
        findings = (*findings, plausibility.Finding(against.reason, against.detail))
    found = msgspec.structs.replace(found, findings=findings)
    known = connection.execute(select(held_transactions).where(_is(*place))).first()
    shown = None if known is None else (known.detail, known.import_mwh, known.export_mwh)
    same = shown == (found.detail, found.import_mwh, found.export_mwh)
    state: ledger.State = "booked"
    if findings:
        decided = known.state if known is not None and same else ""
        state = "released" if decided == "released" else "withdrawn" if decided == "rejected" else "held"
        if state == "held" and against is not None and len(findings) == 1:
            state = held_by(against)
    ledger.put(connection, facts, state, now_ms, against)
    if known is not None and not same:
        connection.execute(delete(held_transactions).where(_is(*place)))
    if findings and not same:
        connection.execute(
            insert(held_transactions).values(
                station_id=transaction.station_id,
                transaction_id=transaction.transaction_id,
                state="quarantined",
                reason=findings[0].reason,
                detail=found.detail,
                begin_ms=found.usage.start_ms,
                end_ms=found.usage.end_ms,
                import_mwh=found.import_mwh,
                export_mwh=found.export_mwh,
                since_ms=now_ms if known is None else known.since_ms,
                decided_by="",
                note="",
            )
        )
    return found


def doubted(connection: Connection, key: ledger.Key) -> list[Transaction]:
    """Return the transactions that a session contradicts, to be judged again; they have no cost meanwhile."""
    found: list[Transaction] = []
    for station_id, transaction_id in ledger.doubt(connection, key):
        place = {"station_id": station_id, "transaction_id": transaction_id}
        document = connection.execute(select(transactions.c.document).filter_by(**place)).scalar_one()
        found.append(read_transaction(document))
        delete_rows(connection, transaction_costs, **place)
    return found


def counted(connection: Connection, transaction: Transaction, now_ms: int) -> plausibility.JudgedUsage | None:
    """Return what a transaction used so far, for sums; None if its readings cannot be, or while it is held."""
    found = judged(connection, transaction, now_ms)
    return None if found.findings or is_open(connection, transaction.station_id, transaction.transaction_id) else found


def _by_time(found: Iterable[PricePlan]) -> bool:
    """Return whether a price depends on when something happened."""
    of_energy = {**_LASTING, "min_energy_wh": None, "max_energy_wh": None}  # it comes to the same in whatever time
    for plan in found:
        if any(each is not None for each in (plan.charging_time, plan.idle_time, plan.reservation_time)):
            return True
        for kind in ("energy", "export", "fixed", "reservation_fixed"):
            charge, timeless = plan.charge(kind), of_energy if kind == "energy" else _LASTING
            if charge and any(msgspec.structs.replace(each.when, **timeless) != When() for each in charge.rates):
                return True
    return False


_LASTING: Final[dict[str, None]] = {"evse_kind": None, "payment_brand": None, "payment_recognition": None}
"""Conditions that hold during a whole transaction, or never."""


def _by_state(found: Iterable[PricePlan]) -> bool:
    """Return whether a price depends on when it charges and when not."""
    return any(
        plan.charging_time is not None
        or plan.idle_time is not None
        or any(
            each is not None
            for when in plan.conditions()
            for each in (when.min_charging_s, when.max_charging_s, when.min_idle_s, when.max_idle_s)
        )
        for plan in found
    )


def _context(
    connection: Connection, transaction: Transaction, events: Sequence[plausibility.ReceivedEvent]
) -> plausibility.TransactionContext:
    station_id = transaction.station_id
    place = station_id, transaction.evse_id
    running = [plan for _, plan in plans.plans_of(connection, transaction)]
    first_ms = min((each.received_ms for each in events), default=0)
    begin_ms = min((each.at_ms for each in events), default=0)
    before, since = ledger.last_at(connection, *place, transaction.transaction_id, first_ms, begin_ms)
    fault = transaction_faults.c
    conflicts = connection.execute(
        select(fault.seq_no, fault.found_ms, fault.detail)
        .where(
            (fault.station_id == station_id)
            & (fault.transaction_id == transaction.transaction_id)
            & (fault.kind == "conflict")
        )
        .order_by(fault.id)
    )
    times = [at_ms for each in events for at_ms in (each.at_ms, each.received_ms)]
    return plausibility.TransactionContext(
        rating=ratings(connection, [place])[place],
        permitted=permitted_power(connection, transaction, (min(times, default=0), max(times, default=0)), events),
        free_ms=None if before is None else before.to_ms,
        left_mwh=(None, None) if before is None else (_left(before.imports), _left(before.exports)),
        since=_since(connection, transaction, since, first_ms) if before is not None else None,
        conflicts=tuple(plausibility.Conflict(*row) for row in conflicts),
        gaps=tuple(missing(transaction, (each.seq_no for each in events))),
        by_time=_by_time(running),
        by_state=_by_state(running),
    )


def permitted_power(
    connection: Connection, transaction: Transaction, span: tuple[int, int],
    events: Iterable[plausibility.ReceivedEvent],
) -> tuple[Sequence[plausibility.Point], Sequence[plausibility.Point]]:  # fmt: skip
    """Return the most power of a transaction by the limits that its station had accepted: into its vehicle, and out.

    Its answers may have waited as long as its `events`.
    """
    there, (begin_ms, end_ms) = limits_in_force.c, span
    waited = (each.received_ms - each.earliest_ms for each in events if each.earliest_ms and not each.offline)
    margin_ms = max([MARGIN_MS, *waited])
    rows = connection.execute(
        select(limits_in_force).where(
            (there.station_id == transaction.station_id)
            & (there.from_ms <= end_ms + 2 * margin_ms)
            & (there.to_ms.is_(None) | (there.to_ms >= begin_ms - 2 * margin_ms))
        )
    )
    columns = [name for name in LimitInForce.__struct_fields__ if name != "steps"]
    found = [
        LimitInForce(**{name: getattr(row, name) for name in columns}, steps=typed_json.decode(row.steps, Steps))
        for row in rows
    ]
    place = transaction.evse_id or 0, transaction.transaction_id
    return permitted(found, *place, span, margin_ms) if found else ((), ())


def _left(register: tuple[int, int] | None) -> int | None:
    """Return a register at the end of a transaction; None without one, and of a meter that counted from 0."""
    return register[1] if register is not None and register[0] > 0 else None


def _since(
    connection: Connection, transaction: Transaction, facts: Sequence[Fact], first_ms: int
) -> list[plausibility.HeldBefore] | None:
    """Return the transactions of these facts, None if it is not known what was at their EVSE meanwhile.

    Another one was going on when `transaction` was first heard of, the meter was exchanged, or one is stored no more.
    """
    found, its = [], transactions.c
    rows = connection.execute(
        select(its.document).where(
            (its.station_id == transaction.station_id)
            & its.active.is_(True)
            & (its.transaction_id != transaction.transaction_id)
            & (its.heard_ms <= first_ms)
        )
    ).scalars()
    if any(read_transaction(each).evse_id == transaction.evse_id for each in rows):
        return None
    for each in facts:
        key = each.station_id, each.source_id
        query = select(its.document).where((its.station_id == key[0]) & (its.transaction_id == key[1]))
        document = connection.execute(query).scalar() if each.source == "transaction" else None
        if document is None:
            return None
        series = readings(sample for event in events_of(connection, *key) for sample in event.samples)
        shown = plausibility.last_shown(series[0], each.imports), plausibility.last_shown(series[1], each.exports)
        found.append(plausibility.HeldBefore(each.name, each.from_ms, read_transaction(document).ended_ms, shown))
    return found


def ratings(connection: Connection, places: Collection[Place]) -> dict[Place, plausibility.RatedPower]:
    """Return the ratings of EVSEs by the device models of their stations."""
    names = sorted({station_id for station_id, _ in places})
    column = device_variables.c
    columns = column.station_id, column.component, column.variable, column.evse_id
    model: dict[str, list[AnyRow]] = {}
    for start in range(0, len(names), _STATIONS):
        query = select(*columns, column.value, column.max_limit, column.unit).where(
            column.station_id.in_(names[start : start + _STATIONS])
            & column.component.in_(("EVSE", "ChargingStation", "Connector"))
            & column.variable.in_(("Power", "DischargePower", "ConnectorType"))
            & (column.attribute == "Actual")
        )
        for row in connection.execute(query):
            model.setdefault(row.station_id, []).append(row)
    return {place: _rating(model.get(place[0], ()), place[1]) for place in places}


def _rating(rows: Iterable[AnyRow], evse_id: int | None) -> plausibility.RatedPower:
    """Return the rating of an EVSE by its station's device model."""
    here = [row for row in rows if row.evse_id in (0, evse_id or 0)]
    highest = {
        row.variable: row.max_limit * (1000 if row.unit == "kW" else 1)
        for row in sorted(here, key=lambda row: bool(row.evse_id))  # the EVSE's own counts
        if row.component in ("EVSE", "ChargingStation") and row.max_limit is not None
    }
    kinds = [row.value for row in here if row.variable == "ConnectorType" and row.value and row.evse_id == evse_id]
    return plausibility.rating_of(highest.get("Power"), highest.get("DischargePower"), kinds)


# -- what a person decides


def find(connection: Connection, station_id: str, transaction_id: str) -> Fields | None:
    """Return what is decided about a held transaction, None for one that is not held."""
    row = connection.execute(select(held_transactions).where(_is(station_id, transaction_id))).first()
    return None if row is None else dict(row._mapping)


def is_open(connection: Connection, station_id: str, transaction_id: str) -> bool:
    """Return whether a transaction's amount must be in no total."""
    found = find(connection, station_id, transaction_id)
    return found is not None and found["state"] in OPEN


def is_rejected(connection: Connection, station_id: str, transaction_id: str) -> bool:
    """Return whether a person has decided that a transaction's amount is never in a total."""
    found = find(connection, station_id, transaction_id)
    return found is not None and found["state"] == "rejected"


def reasons(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return why those of these transactions are held that are."""
    there = held_transactions.c
    here = tuple_(there.station_id, there.transaction_id).in_(keys) & there.state.in_(OPEN)
    rows = connection.execute(select(there.station_id, there.transaction_id, there.reason).where(here))
    return {(row[0], row[1]): row[2] for row in rows}


def decide(
    connection: Connection, station_id: str, transaction_id: str, state: str, by: str, note: str, now_ms: int
) -> None:
    """Note a person's decision. Raises RefusedError (`not_quarantined`) unless the transaction is held."""
    found = find(connection, station_id, transaction_id)
    if found is None or found["state"] != "quarantined":
        now = "not held" if found is None else found["state"]
        raise RefusedError(f"transaction {transaction_id} is {now}, not in quarantine", reason="not_quarantined")
    values = {"state": state, "decided_by": by, "note": note, "decided_ms": now_ms}
    connection.execute(update(held_transactions).where(_is(station_id, transaction_id)).values(**values))
    stands: ledger.State = "released" if state == "released" else "withdrawn"
    ledger.decide(connection, station_id, "transaction", transaction_id, stands)


def count(connection: Connection) -> int:
    """Return how many transactions are held."""
    query = select(func.count()).select_from(held_transactions).where(held_transactions.c.state == "quarantined")
    return connection.execute(query).scalar_one()


def _is(station_id: str, transaction_id: str) -> ColumnElement[bool]:
    there = held_transactions.c
    return (there.station_id == station_id) & (there.transaction_id == transaction_id)
