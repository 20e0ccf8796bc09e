"""A liar that plays sequences, over two nodes that are killed with -9: what is booked is what truth delivered.

Stations repeat what was not answered, at whichever node answers. Nothing is booked that a truth-teller did not deliver,
nothing true is refused, and what is held names what it contradicts.
"""

import asyncio
import base64
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets

from csms.booking import held, ledger
from csms.booking import store as reviews
from csms.booking.facts import Fact, evse_key
from csms.books import reports
from csms.books import store as books
from csms.config import Trust
from csms.db.store import Store
from csms.settlements import store as records
from csms.settlements.rules import Copy, SettlementRules
from csms.settlements.work import correct_journal, settle_journal
from csms.smart_charging import store as charging
from csms.stations.store import touch
from csms.tokens import store as tokens
from csms.tokens.rules import Terms, Token
from pki_tools.tree import PkiTree
from tests.csms.databases import Databases
from tests.csms.days import HOUR, LIES, LIMIT_W, Days, StationReport, World
from tests.csms.db.books import KEY
from tests.csms.killable import BackendProcess, BackendProgram, survivors_killed
from tests.csms.settlement.journals import booted, delivery
from tests.csms.settlement.witness import send
from tests.kills import MANY
from v2g.energy.settlement.bookkeeping import Posting, posting_of
from v2g.energy.settlement.bundle import JOURNAL, verify_bundle
from v2g.energy.settlement.journal import Entry
from v2g.energy.settlement.records import LineCorrected, TariffSet
from v2g.io.runtime.clock import ClockConfig
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.times import format_time
from v2g.pki.keys import save_secret

__all__ = ["survivors_killed"]  # a fixture

pytestmark = pytest.mark.requirement("R195")

ALONE = ("power", "beyond", "ahead", "swap", "jump", "cut")
"""Lies that show by themselves."""
ROOTS = "mo/root.pem", "v2g/root.pem"
Message = tuple[str, dict[str, Any]]


def transaction_of(report: StationReport) -> Iterator[Message]:
    """Yield the events of a session's transaction, as of a station that was offline."""
    last = len(report.readings) - 1
    chosen = [each for place, each in enumerate(report.readings) if place % 2 == 0 or place == last]
    told = chosen[: 1 + len(chosen) // 2] if report.kind == "cut" else chosen
    for number, reading in enumerate(told):
        at = format_time(reading.utc_ms)
        registers = (("Import", reading.import_mwh), ("Export", reading.export_mwh))
        values = [{"value": mwh / 1000, "measurand": f"Energy.Active.{way}.Register"} for way, mwh in registers]
        payload: dict[str, Any] = {
            "eventType": "Started" if number == 0 else "Ended" if number == len(chosen) - 1 else "Updated",
            "timestamp": at,
            "triggerReason": "MeterValuePeriodic",
            "seqNo": number,
            "offline": True,
            "transactionInfo": {"transactionId": report.name},
            "evse": {"id": report.evse, "connectorId": 1},
            "meterValue": [{"timestamp": at, "sampledValue": values}],
        }
        if number == 0:
            payload["idToken"] = {"idToken": report.contract, "type": "eMAID"}
        yield "TransactionEvent", payload


def journal_of(report: StationReport, pieces: int) -> Iterator[Message]:
    """Yield the certificates of a session's journal, and its lines in pieces."""
    assert report.story is not None
    named = {"stationId": report.station, "sessionId": report.session}
    chains = {"charger": report.story.charger, "contract": report.story.contract}
    coded = {name: [base64.b64encode(each).decode() for each in chain] for name, chain in chains.items()}
    yield _transfer("JournalCertificates", named | coded)
    for begin in range(0, len(report.story.lines), pieces):
        lines = list(report.story.lines[begin : begin + pieces])
        yield _transfer("JournalEntries", delivery(lines, report.session, report.station))


def _transfer(message: str, data: dict[str, Any]) -> Message:
    return "DataTransfer", {"vendorId": "org.v2g-engine", "messageId": message, "data": data}


class TellingStation:
    """A station that tells its sessions in order; it repeats what was not answered, at any node.

    Journals that are `filed` come otherwise.
    """

    def __init__(
        self,
        name: str,
        report: Sequence[StationReport],
        connect: Callable[[str], websockets.connect],
        chance: random.Random,
        filed: Sequence[StationReport] = (),
    ) -> None:
        self.name = name
        self.answered = 0
        self._connect, self._chance = connect, chance
        self._messages: list[Message] = []
        for each in report:
            parts = [list(transaction_of(each))] if each.reported else []
            if each.story is not None:
                certificates, *lines = journal_of(each, chance.choice((3, 1_000)))
                parts.append([certificates, *(() if each in filed else lines)])
            if chance.random() < 0.3:
                parts.reverse()
            self._messages += [message for part in parts for message in part]

    async def run(self) -> None:
        """Tell all."""
        while self.answered < len(self._messages):
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with self._connect(self.name) as socket:
                    await booted(socket)
                    for number in range(self.answered, len(self._messages)):
                        await self._ask(socket, str(number), *self._messages[number])
                        self.answered += 1
            await asyncio.sleep(0.002)

    async def repeat(self) -> None:
        """Tell the last event of a transaction again."""
        (*_, self.answered) = (number for number, each in enumerate(self._messages) if each[0] == "TransactionEvent")
        await self.run()

    async def _ask(self, socket: Any, identifier: str, action: str, payload: dict[str, Any]) -> None:
        await socket.send(json.dumps([2, identifier, action, payload]))
        while (answer := json.loads(await socket.recv()))[:2] != [3, identifier]:
            assert answer[0] == 2, (action, payload, answer)
        assert action != "DataTransfer" or answer[2]["status"] == "Accepted", (payload, answer)


def prepare(store: Store, world: World) -> None:
    """Let the back end know stations, their limits, contracts, prices that it has sent, and exchanges of meters."""
    for number, station in enumerate(world.reports):
        store.do(touch, station, "ocpp2.1", world.begin_ms)
        about = station, 0, limited(dynamic=number % 2 == 0), charging.CSO, world.begin_ms - HOUR
        store.do(partial(charging.save_profile, whole=True), *about)
        store.do(charging.clear_profiles, station, world.end_ms)
        for at_ms, tariff in world.prices:
            entry = Entry(sequence=0, utc_ms=at_ms, previous="", data=TariffSet(tariff=tariff), hash="")
            store.do(send, station, entry, 11_000)
    for number, contract in enumerate(sorted({each.contract for each in world.all()})):
        store.do(tokens.put, Token("eMAID", contract, "Accepted", terms=Terms(one_at_a_time=number % 2 == 0)))
    for each in world.exchanges:
        fact = Fact(
            kind="evse", key=evse_key(each.station, each.evse), station_id=each.station, evse_id=each.evse,
            source="exchange", source_id=f"{each.evse}-{each.at_ms}", transaction_id="",
            from_ms=each.at_ms, to_ms=each.at_ms, imports=(each.old_mwh, each.new_mwh),
        )  # fmt: skip
        assert store.do(ledger.exchange, fact, each.at_ms) is None


def limited(*, dynamic: bool) -> ChargingProfile:
    """What no vehicle exceeds."""
    schedule = ChargingSchedule(
        id=1, start_schedule=None if dynamic else "2026-01-01T00:00:00Z", charging_rate_unit="W",
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=LIMIT_W),),
    )  # fmt: skip
    return ChargingProfile(
        id=1, stack_level=0, charging_profile_purpose="TxDefaultProfile",
        charging_profile_kind="Dynamic" if dynamic else "Absolute", charging_schedule=(schedule,),
    )  # fmt: skip


def check(store: Store, world: World, anchors: Sequence[bytes]) -> Counter[str]:
    """Compare what is booked with what was delivered; return how many sessions of each kind there were."""
    true = {(each.station, each.name) for each in world.all() if not each.kind}
    true |= {(each.station, "") for each in world.exchanges}
    lies = {(each.station, each.name) for each in world.all() if each.kind}
    claimed = {each.truth for each in world.all() if each.kind == "elsewhere"}
    true_mwh, owed = Counter[str](), Counter[str]()
    for report in world.all():
        disputed = report.name in claimed and report.story is None
        if report.reported:
            found = store.do(held.find, report.station, report.name)
            key = report.station, "transaction", report.name
            other = store.do(ledger.contradicted, [key]).get(key)
            if not report.kind and not disputed:
                assert found is None, (report, found)
                true_mwh[report.station] += report.import_mwh
            else:
                assert found is not None, report
                assert found["state"] == "quarantined"
                assert found["detail"]
                assert found["reason"] in (LIES[report.kind][0] if report.kind else {"elsewhere"}), (
                    report,
                    found["reason"],
                    found["detail"],
                )
                if report.kind not in ALONE and (report.kind, found["reason"]) != ("overlap", "clock"):
                    assert other is not None, (report, found["reason"], found["detail"])
                    assert (other.station_id, other.transaction_id) in true | lies if disputed else true, (
                        report,
                        other,
                    )
        if report.story is not None:
            review = store.do(reviews.get, report.station, report.session)
            assert review is not None, report
            posted = store.do(books.of_session, report.station, report.session)
            if report.kind:
                assert review.state == "quarantined", (report.kind, review)
                assert review.reason in LIES[report.kind][1], (report, review)
                assert review.detail
                assert posted == []
            else:
                assert review.state == "booked", (report, review)
                ((_, _, posting),) = posted
                right = settle_journal(b"".join(report.story.lines), report.session).posting
                assert sorted(posting.entries, key=repr) == sorted(right.entries, key=repr)
                assert report.bundle is not None
                bundle = report.bundle()
                proved = verify_bundle(bundle, anchors=anchors)
                assert posting_of(proved.settlement).entries == right.entries, "its bundle says what is booked"
                lines = store.do(records.journal_lines, report.station, report.session)
                assert bundle[JOURNAL] == b"".join(lines)
                owed.update(_owed(posting))
    counted = Counter[str]()
    for each in store.do(reports.sums, "station", UTC):
        counted[each.group] += each.import_mwh
    assert +counted == true_mwh
    booked = {each.unit: each.amount for each in store.do(books.sums).entries if each.account == "driver"}
    assert booked == dict(owed)
    assert store.do(ledger.booked_contradictions, None, 10) == []
    return Counter(report.kind or "true" for report in world.all())


def _owed(posting: Posting) -> dict[str, int]:
    found = Counter[str]()
    for each in posting.entries:
        if each.account == "driver":
            found[each.unit] += each.amount
    return dict(found)


def correct(store: Store, report: StationReport, now_ms: int) -> None:
    """Correct a price of a booked session, as its operator would."""
    lines = store.do(records.journal_lines, report.station, report.session)
    document = json.loads(settle_journal(b"".join(lines), report.session).document)
    record = LineCorrected(line=document["lines"][0]["id"], price=1_000, reason="agreed", by="operator")
    made = correct_journal(report.station, report.session, lines, record, now_ms, KEY)
    stored = made.row, made.before, made.lines, made.settled.posting, made.settled.document
    store.do(books.save_corrected, *stored, now_ms, UTC, made.receipt)


@pytest.mark.parametrize(
    ("seed", "count", "kills", "backend", "database"),
    [
        (1, 8, 2, BackendProcess, "postgresql"),
        *(
            pytest.param(
                each, 40, 12, BackendProgram, "sqlite" if each % 4 == 3 else "postgresql", marks=pytest.mark.long
            )
            for each in range(2, 2 + MANY // 25)
        ),
    ],
)
async def test_what_is_booked_is_what_happened_though_nodes_are_killed(
    request: pytest.FixtureRequest, redis_url: str, tmp_path: Path, pki: PkiTree, seed: int, count: int, kills: int,
    backend: type[BackendProcess | BackendProgram], database: str,
) -> None:  # fmt: skip
    """The long ones, one for each 25 of `V2G_KILLS`, run the programs: in every fourth two on one file of SQLite."""
    databases: Databases = request.getfixturevalue(f"{database}_databases")
    chance, store_url = random.Random(seed), databases.create()
    world = Days(pki, seed, count).world
    save_secret(tmp_path / "store.key", b"7" * 64)
    clock = ClockConfig(origin_monotonic=time.monotonic(), origin_utc_ms=world.end_ms)
    start = partial(
        backend, store_url=store_url, root=pki.path("mo/root.pem"), bus_url=redis_url, clock=clock,
        settlement=SettlementRules(unsigned_feed_in=True), trust=Trust(roots=tuple(map(pki.path, ROOTS))),
        **({} if backend is BackendProcess else {"pki": pki, "stations": tuple(world.reports)}),
    )  # fmt: skip
    with contextlib.closing(Store(store_url)) as store:
        prepare(store, world)
        nodes = [await asyncio.to_thread(start, tmp_path / str(number)) for number in range(2)]
        ports = [each.port for each in nodes]
        filed = [
            next(each for each in world.all() if each.session and bool(each.kind) == lies) for lies in (False, True)
        ]

        def connect(name: str) -> websockets.connect:
            return backend.connect(chances[name].choice(ports), name, pki)

        chances = {name: random.Random(f"{seed} {name}") for name in world.reports}
        stations = [
            TellingStation(name, report, connect, chances[name], filed) for name, report in world.reports.items()
        ]
        running = [asyncio.create_task(each.run()) for each in stations]
        for _ in range(kills):
            before = sum(each.answered for each in stations)
            while sum(each.answered for each in stations) < before + 10 and not all(each.done() for each in running):
                await asyncio.sleep(0.001)
            await asyncio.sleep(chance.uniform(0, 0.03))
            victim = chance.randrange(2)
            nodes[victim].kill()
            nodes[victim] = await asyncio.to_thread(start, tmp_path / str(victim), port=ports[victim])
        await asyncio.gather(*running)
        for each in nodes:
            each.kill()
        for each in filed:  # as a node leaves it that dies before it considers it
            assert each.story is not None
            copy = Copy(each.station, each.session)
            copy.take([line.removesuffix(b"\n") for line in each.story.lines])
            row = records.JournalRow(
                station_id=each.station, session_id=each.session, lines=copy.lines, head=copy.head, ended=copy.ended
            )
            assert store.do(records.append_journal, row, 0, list(each.story.lines), world.end_ms)
        cut = [(each.station, each.name) for each in world.all() if each.kind == "cut"]  # the next one ends it

        def is_settled(now_ms: int) -> bool:
            reviewed = [store.do(reviews.get, each.station, each.session) for each in filed]
            known = [*reviewed, *(store.do(reviews.get, *each) for each in store.do(reviews.waiting))]
            due = any(each is None or (each.state == "waiting" and each.due_ms <= now_ms) for each in known)
            return not due and all(store.do(held.find, *each) is not None for each in cut)

        for later_ms in (2 * HOUR, 4 * HOUR):  # nothing else is waited for; then not for what was filed, either
            clock = msgspec.structs.replace(clock, origin_utc_ms=world.end_ms + later_ms)
            nodes = [
                await asyncio.to_thread(start, tmp_path / str(n), port=port, clock=clock)
                for n, port in enumerate(ports)
            ]
            for station in stations:
                await station.repeat()
            async with asyncio.timeout(300):
                while not is_settled(world.end_ms + later_ms):
                    await asyncio.sleep(0.1)
            if not store.do(reviews.waiting):
                break
            for node in nodes:
                node.kill()
        assert check(store, world, pki.anchors("v2g", "mo"))["true"] == count
        (true, false) = filed
        correct(store, true, world.end_ms)
        corrected = store.do(books.sums)
        for report in (true, false):
            await TellingStation(report.station, [report], connect, chance).run()
        assert store.do(books.sums) == corrected
        assert len(store.do(books.of_session, true.station, true.session)) == 3
