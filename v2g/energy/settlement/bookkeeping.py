"""Books over many sessions: each settlement is posted in double entry, in energy and money (R32, R33).

A posting is never changed: a settlement that differs from the posted one reverses that posting and is posted again. A
period that is closed has a digest over its postings and that of the closed period before it.

Accounts: `grid` and `vehicle` in mWh; `driver` (what drivers owe, below 0 what is owed to them), `sales` (energy sold
to them), `purchases` (energy bought from them), `wear` (paid to them for their batteries' wear) and `vat` (on all that)
in micro-units of a currency. `driver` is with VAT, the others are without.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.pricing import NO_CURRENCY
from v2g.energy.settlement.settle import Settlement
from v2g.energy.settlement.taxes import Tax

Account = Literal["grid", "vehicle", "driver", "sales", "purchases", "wear", "vat"]
Period = Annotated[str, Meta(pattern=r"^[12][0-9]{3}-(0[1-9]|1[0-2])\Z", examples=["2026-11"])]
"""A calendar month of the operator's time zone."""

MILLIWATT_HOURS: Final = "mWh"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An amount on an account: mWh, or micro-units of a currency."""

    account: Account
    unit: str
    amount: int


_FASTEST_RATE: Final = 10
"""No battery is charged or discharged faster, in capacities an hour."""
_MOST_PERCENT: Final = 125
"""Into or out of a battery goes at most this share of its capacity, with the losses of an on-board charger."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What a session did to the vehicle, and how its time was spent (R35, R36, R37). Cycles in millionths.

    Of a battery whose capacity is unknown the cycles are, too.
    """

    import_mwh: int
    export_mwh: int
    full_cycles: int | None
    v2g_cycles: int | None
    charging_ms: int
    discharging_ms: int
    idle_ms: int

    def reversed(self) -> "Use":
        """Return the same with all signs changed."""
        amounts = {name: getattr(self, name) for name in self.__struct_fields__}
        return Use(**{name: amount and -amount for name, amount in amounts.items()})


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement in the books, or the reversal of one. `vehicle` is its contract's EMAID, empty without one."""

    kind: Literal["settlement", "reversal"]
    station_id: str
    session_id: str
    journal_head: str
    vehicle: str
    begin_ms: int
    end_ms: int
    entries: tuple[Entry, ...]
    use: Use


def posting_of(settlement: Settlement, taxes: Iterable[Tax] = ()) -> Posting:
    """Return the posting of a settlement with its VAT. The sum of its entries is zero in each unit."""
    import_mwh = settlement.end.import_mwh - settlement.begin.import_mwh
    export_mwh = settlement.end.export_mwh - settlement.begin.export_mwh
    amounts: dict[tuple[Account, str], int] = defaultdict(int)

    def move(source: Account, target: Account, unit: str, amount: int) -> None:
        amounts[source, unit] -= amount
        amounts[target, unit] += amount

    move("grid", "vehicle", MILLIWATT_HOURS, import_mwh)
    move("vehicle", "grid", MILLIWATT_HOURS, export_mwh)
    for total in settlement.totals:
        if total.currency != NO_CURRENCY:
            move("sales", "driver", total.currency, total.import_cost)
            move("driver", "purchases", total.currency, total.export_credit)
            move("driver", "wear", total.currency, total.wear_credit or 0)
    for tax in taxes:
        move("vat", "driver", tax.currency, tax.vat)
    battery, times = settlement.battery, settlement.times
    known = _can_be(settlement, abs(import_mwh - export_mwh))
    return Posting(
        kind="settlement",
        station_id=settlement.station_id,
        session_id=settlement.session_id,
        journal_head=settlement.journal_head,
        vehicle=settlement.emaid or "",
        begin_ms=settlement.begin.utc_ms,
        end_ms=settlement.end.utc_ms,
        entries=_entries(amounts),
        use=Use(
            import_mwh=import_mwh,
            export_mwh=export_mwh,
            full_cycles=battery.full_cycles if known else None,
            v2g_cycles=battery.v2g_cycles if known else None,
            charging_ms=times.charging_ms,
            discharging_ms=times.discharging_ms,
            idle_ms=times.idle_ms,
        ),
    )


def _can_be(settlement: Settlement, net_mwh: int) -> bool:
    """Return whether the battery can have the capacity that its vehicle states: else one lie would fill all sums of
    cycles (R194)."""
    battery, times = settlement.battery, settlement.times
    capacity_mwh = (battery.capacity_wh or 0) * 1000
    fastest_mwh = _FASTEST_RATE * capacity_mwh * (times.charging_ms + times.discharging_ms) // 3_600_000
    return net_mwh * 100 <= capacity_mwh * _MOST_PERCENT and battery.throughput_mwh <= fastest_mwh


def reversal_of(posting: Posting) -> Posting:
    """Return the posting that cancels one."""
    entries = tuple(replace(each, amount=-each.amount) for each in posting.entries)
    return replace(posting, kind="reversal", entries=entries, use=posting.use.reversed())


def is_balanced(entries: Iterable[Entry]) -> bool:
    """Return whether all amounts of each unit sum to zero."""
    sums: dict[str, int] = defaultdict(int)
    for each in entries:
        sums[each.unit] += each.amount
    return not any(sums.values())


def period_of(utc_ms: int, zone: tzinfo = UTC) -> str:
    """Return the period of a time (UTC ms)."""
    return f"{datetime.fromtimestamp(utc_ms / 1000, UTC).astimezone(zone):%Y-%m}"


def next_period(period: str) -> str:
    """Return the period after one."""
    year, month = map(int, period.split("-"))
    return f"{year + month // 12:04}-{month % 12 + 1:02}"


def end_of(period: str, zone: tzinfo = UTC) -> int:
    """Return when a period ends and the next one begins (UTC ms)."""
    return int(datetime.fromisoformat(f"{next_period(period)}-01").replace(tzinfo=zone).timestamp() * 1000)


class Digest:
    """The digest of a period: SHA-512 over that of the closed period before it, and over its postings in order."""

    def __init__(self, previous: str = "") -> None:
        self._hash = hashlib.sha512(previous.encode())

    def add(self, posting: Posting) -> None:
        """Add the next posting."""
        self._hash.update(hashlib.sha512(canonical(posting)).digest())

    @property
    def hex(self) -> str:
        """The digest, in hexadecimal."""
        return self._hash.hexdigest()


def _entries(amounts: dict[tuple[Account, str], int]) -> tuple[Entry, ...]:
    return tuple(
        Entry(account=account, unit=unit, amount=amount)
        for (account, unit), amount in sorted(amounts.items())
        if amount
    )
