"""Scores as a back end's API and command tell them: with consent only, and none are left when it ends."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from benchmarks.fleets import BEGIN_MS
from benchmarks.fleets.traffic import TRAFFIC
from csms.accounts.rules import Role
from csms.batteries.tables import battery_states
from csms.scores.work import DriftWatch
from csms.telemetry.seal import seal_of
from tests.cli.csms import Cli
from tests.csms.api_support import ask, read
from tests.csms.conftest import Start
from tests.csms.support import TOKENS, Running
from v2g.battery.scores import FIGURES
from v2g.telemetry.delivery import encode_delivery
from v2g.telemetry.local_events import CONSENT, LocalEvent
from v2g.telemetry.signals import SCHEMA_5, Record, encode_record

pytestmark = pytest.mark.requirement("R214", "R60", "R123")

BOTH = "battery driving scores"


def lived(ev: str, *, boot: int = 1, first: int = 1, number: int = 700) -> list[Record]:
    """Return records of a drive."""
    return [
        Record(
            ev, boot, first + count, each.at_ms, each.context, keyframe=True, signals=dict(each.values),
            schema=SCHEMA_5, trip="1-0", ambient_c=None, charging_w=None,
        )
        for count, each in enumerate(TRAFFIC.drives(3, 0.2).readings[:number])
    ]  # fmt: skip


def consent(ev: str, groups: str, *, boot: int = 1, seq: int = 1) -> Record:
    return Record(
        ev, boot, seq, BEGIN_MS, "parked", keyframe=False, signals={}, schema=SCHEMA_5, trip="1-0",
        ambient_c=None, charging_w=None,
        event=LocalEvent("gateway", CONSENT, BEGIN_MS, {"groups": groups}),
    )  # fmt: skip


async def deliver(csms: Running, records: Iterable[Record]) -> None:
    body = encode_delivery(map(encode_record, records))
    async with ask(csms, "POST", "/telemetry", token=TOKENS[Role.ADMIN], body=body) as answer:
        assert answer.ok, await answer.text()


def stored(connection: Connection) -> dict[str, tuple[int, int, bool]]:
    """Return of each vehicle the record up to which its battery is, and whether its stored document has scores."""
    seal = seal_of(connection)
    rows = connection.execute(select(battery_states)).all()
    documents = {each.ev: seal.find(connection, each.document, "battery", each.ev) or b"" for each in rows}
    return {each.ev: (each.boot, each.seq, b'"driving"' in documents[each.ev]) for each in rows}


async def until(csms: Running, ev: str, boot: int, seq: int) -> bool:
    """Wait until a record is in the battery's state; return whether that has scores."""
    async with asyncio.timeout(60):
        while (found := (await csms.csms.services.store.read(stored)).get(ev, (0, 0, False)))[:2] < (boot, seq):
            await asyncio.sleep(0.05)
    return found[2]


async def test_scores_need_consent_and_go_with_it(start: Start, tmp_path: Path) -> None:
    async with start() as csms:
        await deliver(csms, [consent("EV-1", BOTH), *lived("EV-1", first=2)])
        await deliver(csms, [consent("EV-2", "battery driving"), *lived("EV-2", first=2, number=60)])
        await deliver(csms, lived("EV-3", number=60))
        assert [await until(csms, ev, 1, seq) for ev, seq in (("EV-1", 701), ("EV-2", 61), ("EV-3", 60))] == [
            True,
            False,
            False,
        ]
        (shown,) = await read(csms, "/scores")
        assert shown["ev"] == "EV-1"
        scores = {each["name"]: each for each in shown["scores"]}
        assert scores["brake_wear"]["value"] > 0
        for name, each in scores.items():
            assert (each["precision"], each["recall"]) == (FIGURES[name].precision, FIGURES[name].recall)
        assert await read(csms, "/vehicles/EV-1/scores") == shown
        for ev in ("EV-2", "EV-3"):
            async with ask(csms, "GET", f"/vehicles/{ev}/scores", token=TOKENS[Role.ADMIN]) as answer:
                assert answer.status == 404
        for role in (Role.OPERATOR, Role.INSURER):
            async with ask(csms, "GET", "/scores", token=TOKENS[role]) as answer:
                assert answer.status == 403
        code, table, _ = await Cli(csms, tmp_path)("scores")
        assert code == 0
        assert "EV-1" in table
        assert "brake wear" in table
        assert "EV-2" not in table
        assert await read(csms, "/scores/drifts") == []
        # withdrawn: nothing is left, nor does it come back with more records
        await deliver(csms, [consent("EV-1", "battery driving", seq=702), *lived("EV-1", first=703, number=5)])
        assert not await until(csms, "EV-1", 1, 707)
        assert await read(csms, "/scores") == []


def weeks(ev: str, number: int, resistance: float) -> list[Record]:
    """Return a record each half day of ten weeks, whose resistance is another one in the second half."""
    return [
        Record(
            ev, 1, 2 + half, BEGIN_MS + half * 43_200_000, "parked", keyframe=True,
            signals={"battery.resistance": round((0.08 + number / 1000) * (resistance if half > 70 else 1.0), 4)},
            schema=SCHEMA_5, trip="1-0", ambient_c=None, charging_w=None,
        )
        for half in range(140)
    ]  # fmt: skip


async def test_a_fleet_whose_world_shifts_is_announced_once(start: Start, tmp_path: Path) -> None:
    async with start() as csms:
        watch = DriftWatch(csms.csms.services)
        await watch.look()
        for number in range(6):
            ev = f"EV-{number}"
            await deliver(csms, [consent(ev, BOTH), *weeks(ev, number, 1.2)])
            assert await until(csms, ev, 1, 141)
        assert csms.events("score_drift") == []
        await watch.look()
        await watch.look()
        assert csms.events("score_drift") == [{"quantity": "resistance", "percent": 20, "raised": True}]
        code, table, _ = await Cli(csms, tmp_path)("score-drifts")
        assert (code, "resistance" in table) == (0, True)


async def test_a_boot_that_says_nothing_about_consent_ends_it(start: Start) -> None:
    async with start() as csms:
        await deliver(csms, [consent("EV-1", BOTH), *lived("EV-1", first=2, number=20)])
        assert await until(csms, "EV-1", 1, 21)
        await deliver(csms, [consent("EV-1", BOTH, boot=2), *lived("EV-1", boot=2, first=2, number=20)])
        assert await until(csms, "EV-1", 2, 21)
        await deliver(csms, lived("EV-1", boot=3, number=2))
        assert not await until(csms, "EV-1", 3, 2)
        # one of before that comes late does not bring it back
        await deliver(csms, [consent("EV-1", BOTH, boot=2, seq=22)])
        await deliver(csms, [consent("EV-2", BOTH), *lived("EV-2", first=2, number=20)])
        assert await until(csms, "EV-2", 1, 21)
        assert [each["ev"] for each in await read(csms, "/scores")] == ["EV-2"]
        await deliver(csms, lived("EV-1", boot=3, first=3, number=2))
        assert not await until(csms, "EV-1", 3, 4)
