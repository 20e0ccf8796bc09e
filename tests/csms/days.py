"""Days of sessions by several stations, true ones and lies of every kind, with the signed journals of some."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from csms.booking.plausibility import Reason
from pki_tools.tree import PkiTree
from tests.csms.settlement.lies import LyingSession, Story, charger_named, delivered, each_record, records, rewritten
from v2g.asn1.discharge import PriceSlot
from v2g.energy.grid_signal import Tariff
from v2g.energy.settlement.intervals import Registers
from v2g.energy.settlement.records import (
    AnyRecord,
    AuthorizationSigned,
    ContractAuthorized,
    MeterReading,
    SessionStarted,
    TariffSet,
)
from v2g.pki.certificates import load_certificate
from v2g.pki.credentials import Credentials
from v2g.pki.issue import Issuer, IssueRequest, Subject, issue
from v2g.pki.keys import SoftwareKey, load_private_key
from v2g.pki.profile import Role

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
EVSES: Final = (1, 2)

_MOVED: Final[frozenset[Reason]] = frozenset(
    {"signatures", "prices", "superseded", "transaction", "times", "token", "registers"}
)
_TWICE: Final[frozenset[Reason]] = frozenset({"repeated", "rise", "clock"})
LIMIT_W: Final = 50_000
"""What all stations have accepted."""

LIES: Final[dict[str, tuple[frozenset[Reason], frozenset[Reason]]]] = {
    "again": (_TWICE, frozenset({"signatures", "repeated"})),
    "later": (_TWICE, _MOVED),
    "elsewhere": (frozenset({"elsewhere"}), _MOVED | {"charger"}),
    "power": (frozenset({"rise"}), frozenset({"rise"})),
    "beyond": (frozenset({"limits"}), frozenset({"limits"})),
    "ahead": (frozenset({"clock"}), _MOVED),
    "overlap": (_TWICE, _MOVED | {"repeated"}),
    "omits": (frozenset(), frozenset({"contract", "times"})),
    "falls": (_TWICE | {"fall"}, _MOVED),
    "swap": (frozenset({"begin", "fall"}), _MOVED),
    "currency": (frozenset(), frozenset({"superseded", "prices", "times", "registers"})),
    "jump": (frozenset({"begin"}), frozenset()),
    "cut": (frozenset({"end"}), frozenset()),
}
"""Why the transaction of each kind of lie is held, and its journal; none: it is true.

A `jump` follows another lie that is held. Of one that is `cut` the end is lost, though energy flowed: that is no lie of
its station, but nobody knows what to book.
"""


@dataclass(frozen=True)
class StationReport:
    """A session as its station reports it: by OCPP, and by a journal if it has one.

    `kind` is that of a lie, `truth` the true session that it is about; `reported`: by OCPP, too. `bundle` makes
    what its charger gives others.
    """

    name: str
    station: str
    evse: int
    contract: str
    readings: tuple[Registers, ...] = field(repr=False)
    story: Story | None = field(default=None, repr=False)
    session: str = ""
    bundle: Callable[[], Mapping[str, bytes]] | None = field(default=None, repr=False)
    kind: str = ""
    truth: str = ""
    reported: bool = True

    @property
    def import_mwh(self) -> int:
        """What it counted."""
        return self.readings[-1].import_mwh - self.readings[0].import_mwh


@dataclass(frozen=True)
class Exchange:
    """An operator's note of another meter, before a session."""

    station: str
    evse: int
    at_ms: int
    old_mwh: int
    new_mwh: int


@dataclass(frozen=True)
class World:
    """Sessions of each station in the order in which it tells them, prices by the time from which they are in force."""

    begin_ms: int
    end_ms: int
    reports: dict[str, list[StationReport]]
    exchanges: list[Exchange]
    prices: list[tuple[int, Tariff]]

    def all(self) -> list[StationReport]:
        """Return every session."""
        return [each for station in self.reports.values() for each in station]


def contract_named(pki: PkiTree, emaid: str, at: datetime) -> Credentials:
    """Return a contract's new key, and its chain to the trusted root."""
    chain = pki.chain("contract")
    key = ec.generate_private_key(ec.SECP521R1())
    request = IssueRequest(
        role=Role.CONTRACT,
        subject=Subject(common_name=emaid, organization="V2G Engine MO", country="DE", domain="MO"),
        public_key=key.public_key(),
        serial=x509.random_serial_number(),
        not_before=at,
        ocsp_url="http://ocsp.example",
        crl_url="http://crl.example",
    )
    leaf = issue(request, Issuer(load_certificate(chain[1]), load_private_key(pki.path("mo/sub2.key"))))
    return Credentials((leaf.public_bytes(Encoding.DER), *chain[1:]), SoftwareKey(key))


class DaySession(LyingSession):
    """A session of one of several contracts at one of several stations, with the registers of its EVSE."""

    def __init__(
        self, pki: PkiTree, begin_ms: int, station: str, session_id: bytes, signers: tuple[Credentials, Credentials],
        emaid: str, registers: tuple[int, int], tariff: Tariff,
    ) -> None:  # fmt: skip
        super().__init__(pki, begin_ms, charger=signers[0], station_id=station, session_id=session_id)
        self.contract, self.emaid, self.evcc_id = signers[1], emaid, f"WMI{emaid}"
        self.import_mwh, self.export_mwh = self.begin = registers
        self.tariff = tariff
        self._select(checkpoints=False)


def change_of_clocks(now: datetime) -> int:
    """Return the next time at which clocks change in the European Union (UTC ms), two days from now or later."""
    days = (now + timedelta(days=2 + each) for each in range(370))
    day = next(each for each in days if each.month in (3, 10) and each.isoweekday() == 7 and each.day > 24)
    return int(day.replace(hour=1, minute=0, second=0, microsecond=0, tzinfo=UTC).timestamp() * 1000)


class Days:
    """Makes a world of sessions around a change of clocks; `journals`: of so many in a hundred sessions."""

    def __init__(self, pki: PkiTree, seed: int, count: int, journals: int = 60) -> None:
        self._pki, self._chance, self._journals = pki, random.Random(seed), journals
        change_ms = change_of_clocks(datetime.now(UTC))
        self._begin_ms = change_ms - (count * HOUR // 4)
        at = datetime.fromtimestamp(self._begin_ms / 1000, UTC) - timedelta(days=1)
        self._stations = ("CS-1", "CS-2", "CS-3")
        self._chargers = {each: charger_named(pki, each, at) for each in (*self._stations, "CS-8", "CS-9")}
        self._contracts = {each: contract_named(pki, each, at) for each in (f"DEV2GC0000001{n}" for n in range(4))}
        self._free = {(station, evse): self._begin_ms for station in self._stations for evse in EVSES}
        self._registers = dict.fromkeys(self._free, (20_000_000, 500_000))
        self._drivers = dict.fromkeys(self._contracts, self._begin_ms)
        self._reports: dict[str, list[StationReport]] = {}
        self._exchanges: list[Exchange] = []
        euros, francs = (self._tariff(currency, version) for version, currency in enumerate(("EUR", "CHF"), 1))
        self._prices = [(self._begin_ms, euros), (change_ms, francs)]
        self._number = 0
        kinds = list(LIES)
        self._chance.shuffle(kinds)
        self._kinds = kinds * (count // len(kinds) + 1)
        for _ in range(count):
            self._next()
        end_ms = max(self._free.values()) + DAY
        self.world = World(self._begin_ms, end_ms, self._reports, self._exchanges, self._prices)

    def _tariff(self, currency: str, version: int) -> Tariff:
        slots = tuple(
            PriceSlot(self._begin_ms - DAY + nth * DAY, DAY, 300_000 + version, 200_000 + version) for nth in range(30)
        )
        return Tariff(currency=currency, slots=slots, version=version, source="dso")

    def _in_force(self, at_ms: int) -> Tariff:
        return next(tariff for from_ms, tariff in reversed(self._prices) if from_ms <= at_ms)

    def _report(self, report: StationReport) -> None:
        self._reports.setdefault(report.station, []).append(report)

    def _next(self) -> None:
        """Add a true session, and perhaps a lie beside it."""
        chance = self._chance
        place, contract = chance.choice(list(self._free)), chance.choice(list(self._contracts))
        begin_ms = max(self._free[place], self._drivers[contract]) + chance.randrange(2, 90) * MINUTE
        if chance.random() < 0.15:
            before = self._registers[place]
            self._exchanges.append(Exchange(*place, begin_ms - MINUTE, before[0], 7_000_000))
            self._registers[place] = (7_000_000, before[1])
        minutes = chance.randrange(10, 180)
        self._number += 1
        name = f"{self._number:04x}"
        kind = self._kinds.pop() if chance.random() < 0.7 else ""
        if kind == "cut":
            begin_ms, kind = self._cut(name, place, contract, begin_ms), ""
            self._number += 1
            name = f"{self._number:04x}"
        plain = kind in ("omits", "currency") or chance.randrange(100) >= self._journals
        power_w, feeds_back = chance.randrange(2_000, 11_000), not plain and chance.random() < 0.3
        true = self._session(name, place, contract, begin_ms, minutes * MINUTE, power_w, feeds_back=feeds_back)
        if plain:
            true = replace(true, story=None, session="")
        self._report(true)
        last = true.readings[-1]
        self._free[place] = self._drivers[contract] = last.utc_ms
        self._registers[place] = last.import_mwh, last.export_mwh
        for each in ("power", "jump") if kind == "jump" else (kind,) if kind else ():
            lie = self._lie(each, true, self._registers[place])
            self._report(lie)
            if (lie.station, lie.evse) == place and lie.readings[-1].utc_ms > last.utc_ms and kind != "ahead":
                self._free[place] = lie.readings[-1].utc_ms + HOUR  # no vehicle was there meanwhile

    def _cut(self, name: str, place: tuple[str, int], contract: str, begin_ms: int) -> int:
        """Add a session of which the second half is never told; return when the next one begins."""
        whole = self._session(name, place, contract, begin_ms, HOUR, 7_000)
        self._report(replace(whole, story=None, session="", kind="cut", truth=name))
        last = whole.readings[-1]
        self._registers[place] = last.import_mwh, last.export_mwh
        return last.utc_ms + self._chance.randrange(2, 90) * MINUTE

    def _session(
        self,
        name: str,
        place: tuple[str, int],
        contract: str,
        begin_ms: int,
        lasts_ms: int,
        power_w: int,
        *,
        feeds_back: bool = False,
    ) -> StationReport:
        """Return what a vehicle and a charger sign together; prices may change in its middle."""
        station, evse = place
        session_id = bytes.fromhex(f"{name:0>16}")
        signers = self._chargers[station], self._contracts[contract]
        tariff = self._in_force(begin_ms)
        made = DaySession(self._pki, begin_ms, station, session_id, signers, contract, self._registers[place], tariff)
        made.start("signed" if feeds_back else "none")
        step_ms = lasts_ms // 4 // 1_000 * 1_000
        for _ in range(4):
            for from_ms, other in self._prices:
                if made.now < from_ms <= made.now + step_ms:
                    made.flow(power_w, from_ms - made.now, from_ms - made.now)
                    made.tariff = other
                    made.record(TariffSet(tariff=other))
            made.flow(power_w, step_ms, step_ms)
        if feeds_back:
            made.offer()
            made.flow(-9_000, MINUTE)
        made.end()
        story = delivered(made)
        return StationReport(name, station, evse, contract, story.readings, story, session_id.hex(), made.bundle)

    def _lie(self, kind: str, true: StationReport, left: tuple[int, int]) -> StationReport:
        """Return what a station says beside a true session, after which its meter stood at `left`."""
        place, lasts_ms = (true.station, true.evse), true.readings[-1].utc_ms - true.readings[0].utc_ms
        self._number += 1
        name = f"{self._number:04x}"
        false = replace(true, name=name, kind=kind, truth=true.name)
        if kind in ("omits", "currency"):
            return self._false_journal(kind, false)
        if kind in ("power", "beyond"):
            begin_ms = true.readings[-1].utc_ms + 2 * HOUR
            flow = (6 * MINUTE, 3_000_000) if kind == "power" else (HOUR, 2 * LIMIT_W)
            return replace(self._session(name, place, true.contract, begin_ms, *flow), kind=kind, truth=true.name)
        if kind == "jump":
            self._registers[place] = left[0] + 400_000_000, left[1]
            begin_ms = true.readings[-1].utc_ms + 5 * HOUR
            jump = self._session(name, place, true.contract, begin_ms, HOUR, 7_000)
            self._registers[place] = left
            return replace(jump, story=None, session="", kind=kind, truth=true.name)
        by_ms = {"ahead": 400 * DAY, "overlap": lasts_ms // 2, "again": 0, "elsewhere": 0}.get(
            kind, lasts_ms + 2 * HOUR
        )
        by_mwh = {"overlap": true.import_mwh, "falls": -500_000 - true.readings[0].import_mwh // 2,
                  "swap": true.import_mwh + 500_000_000, "ahead": true.import_mwh}.get(kind, 0)  # fmt: skip
        if kind == "elsewhere":
            by_mwh = self._number * 1_000_000_000
            false = replace(false, station=self._chance.choice(("CS-8", "CS-9")), evse=self._number)
        session = f"{name:0>16}"

        def change(record: AnyRecord) -> AnyRecord:
            if isinstance(record, SessionStarted):
                return msgspec.structs.replace(
                    record, session_id=session, station_id=false.station, import_mwh=record.import_mwh + by_mwh
                )
            if isinstance(record, MeterReading):
                return msgspec.structs.replace(record, import_mwh=record.import_mwh + by_mwh)
            return record

        readings = tuple(
            msgspec.structs.replace(each, utc_ms=each.utc_ms + by_ms, import_mwh=each.import_mwh + by_mwh)
            for each in true.readings
        )
        if true.story is None:
            return replace(false, readings=readings)
        moved = [(change(record), at_ms + by_ms) for record, at_ms in records(true.story)]
        story = rewritten(true.story, moved, true.readings[-1].utc_ms + by_ms)
        return replace(false, readings=readings, story=story, session=session)

    def _false_journal(self, kind: str, false: StationReport) -> StationReport:
        """Return a lying journal beside a transaction that is true: without its contract, or at prices of before."""
        place = false.station, false.evse
        begin, end = false.readings[0], false.readings[-1]
        known = self._registers[place]
        self._registers[place] = begin.import_mwh, begin.export_mwh
        power_w = (end.import_mwh - begin.import_mwh) * 3600 // (end.utc_ms - begin.utc_ms)
        made = self._session(false.name, place, false.contract, begin.utc_ms, end.utc_ms - begin.utc_ms, power_w)
        self._registers[place] = known
        assert made.story is not None
        other = next(tariff for _, tariff in self._prices if tariff != self._in_force(begin.utc_ms))

        def change(record: AnyRecord) -> AnyRecord:
            return TariffSet(tariff=other) if isinstance(record, TariffSet) else record

        if kind == "omits":
            said = ((record, at) for record, at in records(made.story)
                    if not isinstance(record, ContractAuthorized | AuthorizationSigned))  # fmt: skip
            story = rewritten(made.story, said)
        else:
            story = each_record(made.story, change)
        return replace(false, story=story, session=made.session, reported=False)
