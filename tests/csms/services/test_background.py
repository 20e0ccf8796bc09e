"""What works by itself goes on whatever happens to one step or one station."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from csms import background
from csms.admission.work import StationAdmissions
from csms.grid.signal_delivery import Pusher
from csms.grid.source import GridSource
from csms.services import Services
from csms.smart_charging.rules import Needs
from tests.csms.backend import Backend
from tests.csms.fixtures import Start, backend, csms
from tests.csms.scripted_station import Payload
from tests.csms.support import grid_signal
from tests.waiting import until
from v2g.errors import StoreError

__all__ = ["backend", "csms"]

CS = "CS-V2G-0001"


async def test_a_step_that_fails_unexpectedly_is_done_again_and_keeps_no_other(
    csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    enough = asyncio.Event()

    async def broken(_: Services) -> None:
        done.append("broken")
        raise KeyError("nobody thought of this")

    async def sound(_: Services) -> None:
        done.append("sound")
        if done.count("broken") > 1:
            enough.set()

    monkeypatch.setattr(background, "STEPS", (broken, sound))
    monkeypatch.setattr(background, "STEP_S", 0.001)
    async with background.background(csms.services):
        await asyncio.wait_for(enough.wait(), 60)


async def test_who_is_refused_is_put_out_also_after_a_decision_that_could_not_be_read(
    csms: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await csms.booted(CS), await csms.booted("CS-V2G-0002")
    admissions, read = csms.services[StationAdmissions], csms.services[StationAdmissions].standing
    failed = asyncio.Event()

    async def refuse(*_: Any, **__: Any) -> Any:
        failed.set()
        raise StoreError("no space left on device")

    monkeypatch.setattr(admissions, "standing", refuse)
    await admissions.decide(first.id, "Refused", "tests")
    await asyncio.wait_for(failed.wait(), 60)
    monkeypatch.setattr(admissions, "standing", read)
    await admissions.decide(second.id, "Refused", "tests")
    await until(lambda: not csms.services.connections.connected())


async def test_a_transactions_profile_that_got_no_answer_is_sent_again(backend: Start) -> None:
    asked: list[str] = []

    def answer(request: Payload) -> Any:
        asked.append(request["chargingProfile"].get("transactionId", ""))
        return None if asked[-1] == "tx" and asked.count("tx") == 1 else {"status": "Rejected"}

    async with backend(ocpp={"call_timeout_s": 0.05}, grid={"retry_interval_s": 0.05}) as csms:
        station = await csms.booted(CS)
        station.answers |= {"DataTransfer": {"status": "Accepted"}, "SetChargingProfile": answer}
        caller: Any = SimpleNamespace(version="2.0.1", call=lambda request, _: csms.call(station, request))
        pusher = Pusher(csms.services, CS, caller)
        await csms.services[GridSource].offer(grid_signal(now_ms=csms.clock.utc_ms()), "test")
        pusher.add_needs("tx", Needs(evse_id=1, requested="DC"))
        await pusher.run()
        assert asked.count("tx") == 2


async def test_a_database_that_refuses_a_moment_ends_no_push(csms: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreError("no space left on device")

    caller: Any = SimpleNamespace(version="2.0.1")
    pusher = Pusher(csms.services, CS, caller)
    await csms.services[GridSource].offer(grid_signal(now_ms=csms.clock.utc_ms()), "test")
    monkeypatch.setattr("csms.transactions.store.with_needs", full)
    task = asyncio.create_task(pusher.run())
    await until(lambda: csms.events.named("grid_signal_push_failed"))
    assert not task.done()
    task.cancel()


async def test_who_is_forgotten_is_put_out(backend: Start) -> None:
    async with backend(stations=()) as csms:
        await csms.services[StationAdmissions].decide(CS, "Accepted", "tests")
        await csms.booted(CS)
        assert await csms.services[StationAdmissions].forget(CS)
        await until(lambda: not csms.services.connections.connected())
