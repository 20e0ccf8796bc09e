"""The load on back ends: a sound one passes, ours passes, and each fault fails exactly the criterion about it."""

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from pki_tools.tree import PkiTree
from tests.csms.conftest import sqlite_databases
from tests.csms.databases import Databases
from tests.csms.killable import BackendProcess, no_survivors
from tests.testkit.ocpp.load_rig import LATE_S, Fault, load_back_end
from v2g.errors import ConfigError
from v2g.ocpp.routes import Version
from v2g_testkit.cases.case import Result, Verdict
from v2g_testkit.ocpp.declaration import CsmsDeclaration
from v2g_testkit.ocpp.load import PHASES, PLANS, Load, LoadPlan, Times, read_plan
from v2g_testkit.ocpp.load_criteria import CRITERIA, LoadTester

__all__ = ["sqlite_databases"]

PLAN = LoadPlan(
    stations=6, ramp_s=0.05, steady_s=0.5, event_every_s=0.1, heartbeat_every_s=0.15, status_every_s=0.2,
    meter_every_s=0.15, ping_every_s=0.1, slow_readers=2, slow_s=0.2, unread=3000, offline_events=5, sampled=6,
    boot_s=0.9, answer_s=1.2, p99_s=LATE_S / 2, ping_s=1.0, reconnect_s=0.9,
)  # fmt: skip


async def results(url: str, plan: LoadPlan = PLAN, version: Version = "2.0.1") -> tuple[Load, dict[str, Result]]:
    """Run all phases; return the results by criterion."""
    load = Load(plan, CsmsDeclaration(url=url), version)
    tester = LoadTester(load)
    try:
        return load, {each.id: await tester.run(each) for each in CRITERIA}
    finally:
        await load.close()


async def test_a_sound_back_end_passes_and_gets_what_was_planned() -> None:
    async with load_back_end() as (csms, url):
        load, found = await results(url)
    assert {each.verdict for each in found.values()} == {Verdict.PASS}, found
    assert tuple(load.done) == PHASES
    assert csms.seen["BootNotification"] == PLAN.stations
    assert {"Heartbeat", "StatusNotification", "MeterValues"} <= csms.seen.keys()
    offline = [events for events in csms.events.values() if events[0].get("offline")]
    assert len(offline) == PLAN.stations
    for events in csms.events.values():
        assert [each["seqNo"] for each in events] == list(range(len(events)))
        assert (events[0]["eventType"], events[-1]["eventType"]) == ("Started", "Ended")
        assert len({bool(each.get("offline")) for each in events}) == 1
    assert all(len(events) == PLAN.offline_events for events in offline)
    assert "30 of 30 stored events answered" in found["LOAD-OFFLINE"].found


@pytest.mark.requirement("R200")
async def test_a_load_of_1_6_has_transactions_that_begin_and_end() -> None:
    async with load_back_end() as (csms, url):
        _, found = await results(url, version="1.6")
    assert {each.verdict for each in found.values()} == {Verdict.PASS}, found
    assert csms.seen["BootNotification"] == PLAN.stations
    assert csms.seen["StartTransaction"] == csms.seen["StopTransaction"] == len(csms.events)
    for events in csms.events.values():
        numbers = {each.get("transactionId") for each in events[1:]}
        assert (len(numbers), "meterStart" in events[0], "meterStop" in events[-1]) == (1, True, True)
    assert "30 of 30 stored events answered" in found["LOAD-OFFLINE"].found


@pytest.mark.requirement("R200")
async def test_a_load_of_1_6_fails_where_an_answer_is_lost() -> None:
    async with load_back_end("loses") as (_, url):
        _, found = await results(url, version="1.6")
    assert [name for name, each in found.items() if each.verdict is Verdict.FAIL] == ["LOAD-ANSWERED"]


FAULTS: dict[Fault, str] = {
    "blocks": "LOAD-SLOW",
    "refuses": "LOAD-STORM",
    "late": "LOAD-LATENCY",
    "loses": "LOAD-ANSWERED",
    "no pong": "LOAD-PING",
    "stray": "LOAD-ORDER",
    "pending": "LOAD-RAMP",
    "loses offline": "LOAD-OFFLINE",
    "error": "LOAD-ERRORS",
    "cuts": "LOAD-CONNECTED",
    "invalid": "LOAD-FRAMES",
}
FEW = [pytest.param(each, marks=() if n % 3 == 0 else pytest.mark.long) for n, each in enumerate(FAULTS)]
"""Two seconds each: every third for each change, all of them at length."""


@pytest.mark.parametrize("fault", FEW)
async def test_a_faulty_back_end_fails_exactly_the_criterion_about_it(fault: Fault) -> None:
    plan = msgspec.structs.replace(PLAN, slow_s=1.0) if fault == "blocks" else PLAN  # until its buffers are full
    async with load_back_end(fault) as (_, url):
        _, found = await results(url, plan)
    assert [name for name, each in found.items() if each.verdict is Verdict.FAIL] == [FAULTS[fault]], found[
        FAULTS[fault]
    ].found


def test_every_criterion_has_a_fault_that_fails_it() -> None:
    assert sorted(FAULTS.values()) == sorted(each.id for each in CRITERIA)


@pytest.mark.parametrize("version", ["2.0.1", pytest.param("1.6", marks=pytest.mark.long)])
async def test_our_own_back_end_passes(
    sqlite_databases: Databases, tmp_path: Path, pki: PkiTree, version: Version
) -> None:
    plan = msgspec.structs.replace(PLAN, p99_s=5, boot_s=10, answer_s=10, ping_s=5, reconnect_s=20)
    with no_survivors():
        csms = await asyncio.to_thread(BackendProcess, tmp_path, sqlite_databases.create(), pki.path("mo/root.pem"))
        _, found = await results(f"ws://127.0.0.1:{csms.port}/ocpp", plan, version)
    assert {each.verdict for each in found.values()} == {Verdict.PASS}, found


async def test_without_a_back_end_nothing_else_is_judged() -> None:
    _, found = await results("ws://127.0.0.1:1/ocpp")
    assert found.pop("LOAD-RAMP").verdict is Verdict.FAIL
    assert {each.verdict for each in found.values()} == {Verdict.INCONCLUSIVE}
    assert found["LOAD-STORM"].seconds < PLAN.reconnect_s, "no station to wait for"


async def test_stations_that_could_not_boot_do_so_before_they_send_anything_else() -> None:
    async with load_back_end("starts late") as (csms, url):
        _, found = await results(url)
    assert {name for name, each in found.items() if each.verdict is Verdict.FAIL} == {"LOAD-RAMP"}, found
    assert csms.seen["BootNotification"] == PLAN.stations


async def test_only_the_phases_of_a_criterion_are_run() -> None:
    async with load_back_end() as (_, url):
        load = Load(PLAN, CsmsDeclaration(url=url), "2.0.1")
        (storm,) = (each for each in CRITERIA if each.id == "LOAD-STORM")
        result = await LoadTester(load).run(storm)
        await load.close()
    assert (result.verdict, load.done) == (Verdict.PASS, ["ramp", "storm"])


def test_times_are_within_three_percent() -> None:
    times = Times()
    values = [random.Random(number).uniform(0.001, 2) for number in range(1000)]
    for each in values:
        times.add(each)
    for share in (0.5, 0.99, 1.0):
        exact = sorted(values)[round(len(values) * share) - 1]
        assert exact <= times.within(share) <= exact * 1.03
    assert (times.most, times.count, Times().within(0.99)) == (max(values), 1000, 0)


def test_plans_are_named_or_read(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("stations = 7\n")
    assert read_plan("large") is PLANS["large"]
    assert read_plan(str(file)) == LoadPlan(stations=7)
    for text in (b"stations = 0", b"station = 1", b"slow_readers = 60", b"prefix = 'a b'", b"\xe1\x93"):
        file.write_bytes(text)
        with pytest.raises(ConfigError, match=r"plan\.toml"):
            read_plan(str(file))
    with pytest.raises(ConfigError, match="huge"):
        read_plan("huge")
