"""The shell of an EVSE, in simulated time: nothing is lost between the core's decision and the session that runs."""

import asyncio
from pathlib import Path
from unittest.mock import Mock

import pytest

from pki_tools.tree import PkiTree
from secc.evse.ports import LinkDown
from tests.safety.controllers import Desk, OnRig, controllers, program
from tests.secc.backend import backend
from tests.secc.stand import charge, stand
from tests.virtual_time import in_simulated_time, simulated
from v2g.errors import StoreError
from v2g.iec61851.pilot import PilotState
from v2g.io.runtime.runner import LINGER
from v2g.observe import Observe
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.availability import Serve


async def _begun(rig: OnRig) -> None:
    """Let basic charging begin, of which only the decision has been made."""
    rig.controller.fact(Serve(evse_id=1, operative=False))
    rig.car.plug()
    await asyncio.sleep(1)
    assert not rig.controller.busy
    rig.controller.fact(Serve(evse_id=1, operative=True))
    assert rig.controller.busy


def test_a_session_that_is_to_end_before_it_runs_ends(pki: PkiTree, tmp_path: Path) -> None:
    async def played() -> list[Observe]:
        async with controllers(pki, tmp_path, program(pki, tmp_path)) as (rig,):
            await _begun(rig)
            rig.controller.fact(LinkDown("port_lost"))
            await asyncio.sleep(LINGER + 1)
            assert not rig.controller.busy
            return rig.named("session", "session_ended")

    (ended,) = in_simulated_time(played())
    assert ended.data["reason"] == "port_lost"


@simulated
async def test_a_vehicle_that_leaves_before_its_session_runs_leaves_a_free_evse(pki: PkiTree, tmp_path: Path) -> None:
    async with controllers(pki, tmp_path, program(pki, tmp_path)) as (rig,):
        await _begun(rig)
        rig.car.unplug()
        await asyncio.sleep(LINGER + 1)
        assert not rig.controller.busy
        assert rig.controller.status == "Available"


def test_a_failed_action_keeps_no_other_one_from_being_executed(pki: PkiTree, tmp_path: Path) -> None:
    def refuse(event: Observe) -> None:
        if event.name == "fallback":
            raise OSError("no log")

    async def played() -> None:
        async with controllers(pki, tmp_path, program(pki, tmp_path)) as (rig,):
            rig.controller.fact(Serve(evse_id=1, operative=False))
            rig.car.plug()
            await asyncio.sleep(1)
            rig.controller.observe = refuse
            with pytest.raises(OSError, match="no log"):
                rig.controller.fact(Serve(evse_id=1, operative=True))
            await asyncio.sleep(1)
            assert rig.controller.session is not None
            rig.car.unplug()
            await asyncio.sleep(LINGER + 1)
            assert not rig.controller.busy

    in_simulated_time(played())


class _FailingDesk(Desk):
    def vehicle_left(self) -> None:
        """See Backend."""
        raise OSError("no back end")


@simulated
async def test_a_session_whose_end_cannot_be_reported_leaves_a_free_evse(pki: PkiTree, tmp_path: Path) -> None:
    async with controllers(pki, tmp_path, program(pki, tmp_path)) as (rig,):
        rig.controller.backend = _FailingDesk()
        rig.car.plug()
        await asyncio.sleep(1)
        assert rig.controller.busy
        rig.car.unplug()
        await asyncio.sleep(LINGER + 1)
        assert not rig.controller.busy


def test_a_session_without_messages_that_cannot_begin_is_a_defect(pki: PkiTree, tmp_path: Path) -> None:
    defects: list[object] = []

    def break_down() -> None:
        if not defects:
            raise ArithmeticError("no share")

    async def played() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: defects.append(context["exception"]))
        async with controllers(pki, tmp_path, program(pki, tmp_path)) as (rig,):
            rig.controller.on_busy(break_down)
            rig.car.plug()
            await asyncio.sleep(1)
            assert not rig.controller.hardware.contactors_closed

    in_simulated_time(played())
    assert [str(each) for each in defects] == ["no share"]


def test_a_session_whose_journal_cannot_be_written_ends_and_is_no_defect(pki: PkiTree, tmp_path: Path) -> None:
    defects: list[object] = []

    async def played() -> list[Observe]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: defects.append(context))
        async with controllers(pki, tmp_path, program(pki, tmp_path)) as (rig,):
            rig.controller.backend = Desk(says=AuthorizationStatus.ACCEPTED)
            rig.controller.archive.open_journal = Mock(side_effect=StoreError("disk full"))  # type: ignore[method-assign]
            rig.car.plug()
            await asyncio.sleep(1)
            rig.car.unplug()
            await asyncio.sleep(LINGER + 1)
            assert not rig.controller.busy
            return rig.named("session", "broke_down")

    assert "disk full" in str(in_simulated_time(played())[0].data["error"])
    assert not defects


@simulated
async def test_a_vehicle_that_has_come_in_does_not_wait_for_those_that_have_not(pki: PkiTree, tmp_path: Path) -> None:
    """The bundle of the session before waits for all that arrive, but is awaited by the next one at this EVSE."""
    async with controllers(pki, tmp_path, program(pki, tmp_path)) as (rig,):
        rig.controller.backend = desk = Desk(says=AuthorizationStatus.ACCEPTED)
        turnstile = rig.controller.transport.turnstile

        async def crowd() -> None:
            while True:
                await turnstile.enter(vehicle=True)

        rig.car.plug()
        await asyncio.sleep(1)
        crowds = [asyncio.create_task(crowd()) for _ in range(2)]
        rig.car.unplug()
        await asyncio.sleep(LINGER + 1)
        before = rig.controller.busy, len(rig.named("settlement", "bundle_written")), desk.reference != ""
        settled = asyncio.create_task(rig.controller.settled())
        await asyncio.sleep(1)
        for each in crowds:
            each.cancel()
        assert before == (False, 0, True)
        assert settled.done()
        assert (len(rig.named("settlement", "bundle_written")), desk.reference) == (1, "")


@pytest.mark.requirement("R32")
@simulated
async def test_a_session_by_the_pilot_begins_once_the_last_one_has_its_last_reading(
    pki: PkiTree, tmp_path: Path
) -> None:
    """A polled meter is read once more after a vehicle was unplugged under current: no energy is in both journals."""
    async with controllers(pki, tmp_path, program(pki, tmp_path)) as (rig,):
        rig.controller.backend = desk = Desk(says=AuthorizationStatus.ACCEPTED)

        async def charge() -> None:
            rig.car.plug()
            await asyncio.sleep(0.1)
            rig.car.show(PilotState.C)

        async def poll() -> None:
            await asyncio.sleep(1)

        await charge()
        await asyncio.sleep(5)
        assert rig.controller.hardware.contactors_closed
        rig.controller.meter.refresh = poll  # type: ignore[method-assign]
        first = desk.reference
        rig.car.unplug()
        await asyncio.sleep(0.1)
        await charge()
        await asyncio.sleep(0.5)
        assert desk.reference == first
        await asyncio.sleep(5)
        assert desk.reference not in ("", first)


async def test_the_back_end_learns_first_that_a_vehicle_has_left(pki: PkiTree, tmp_path: Path) -> None:
    """What ends its transaction tells so, too."""
    station = '[station]\nurl = "ws://127.0.0.1:{}/ocpp"\nidentity = "CS-1"\nstore = "station.db"\n'
    services = '[charger]\nservices = [6]\n[hardware]\nkind = "dc"\n'
    async with (
        backend() as csms,
        stand(tmp_path, pki, services, charge("DC_BPT"), tables=station.format(csms.port)) as both,
    ):
        csms.answers["Authorize"] = {"allowed_energy_transfer": ["DC", "DC_BPT"]}
        await csms.wait("BootNotification")

        def unplug(side: str, event: Observe) -> None:
            if (side, event.stage, event.name) == ("evcc", "authorization", "granted"):
                both.vehicle.wires.pilot.unplug()

        both.on_event = unplug
        await both.run()
        ended = await csms.wait("TransactionEvent", where=lambda each: each["event_type"] == "Ended")
        assert ended["transaction_info"]["charging_state"] == "Idle"
        assert ended["transaction_info"]["stopped_reason"] == "EVDisconnected"
