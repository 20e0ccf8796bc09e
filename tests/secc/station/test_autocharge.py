"""Autocharge over a real connection to a CSMS that we did not write: from the session's wish to its transaction."""

import asyncio
from pathlib import Path

import pytest

from secc.evse.backend import StationBackend
from secc.hardware.meter import SimulatedMeter
from secc.session import ports
from secc.session.config import services_of
from tests.secc.backend import Backend, backend
from tests.secc.station.station import Fixture, Recorder
from v2g_station.blocks.authorization.contracts import CHARGING_ONLY, AuthorizationStatus
from v2g_station.blocks.transactions.managed import RemoteStartExpired, RemoteStartRequested
from v2g_station.kernel.kernel import StationCommand

MAC = "0465650064C3"


class Charger(Recorder):
    """Passes starts on, as the charger does."""

    backend: StationBackend

    def carry_out(self, command: StationCommand) -> bool:
        match command:
            case RemoteStartRequested() | RemoteStartExpired():
                self.backend.execute(command)
        return super().carry_out(command)


@pytest.mark.parametrize("known", [True, False])
async def test_an_address_is_authorized_and_pays_or_a_card_is_awaited(tmp_path: Path, known: bool) -> None:
    charger = Charger()
    async with backend() as csms:
        csms.answers["Authorize"] = {"id_token_info": {"status": "Accepted" if known else "Unknown"}}
        fixture = Fixture(tmp_path, csms.port, charger=charger)
        meter = SimulatedMeter("M", now_ms=fixture.clock.utc_ms)
        async with fixture.running() as station:
            charger.backend = at = StationBackend(station, 1, meter, fixture.clock, lambda _: ())
            await station.online.wait()
            outcome = at.execute(ports.AuthorizeExternally(1, MAC))
            assert outcome is not None
            waiting = asyncio.ensure_future(outcome)
            asked = await csms.wait("Authorize")
            assert asked["id_token"] == {"id_token": MAC, "type": "MacAddress"}
            if not known:
                token = {"id_token": "APP-1", "type": "Central"}
                answer = await csms.ask("RequestStartTransaction", id_token=token, remote_start_id=9, evse_id=1)
                assert answer.status == "Accepted"
            services = services_of(CHARGING_ONLY) if known else None  # its answer has no list
            assert await waiting == ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED, services)
            at.execute(ports.TransactionStarted("s", "", evcc_id=MAC))
            event = await started(csms)
            at.vehicle_left()
    assert event["id_token"]["type"] == ("MacAddress" if known else "Central")
    assert charger.all(RemoteStartExpired) == []


async def started(csms: Backend) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = await csms.wait(
        "TransactionEvent", where=lambda payload: payload["event_type"] == "Started"
    )
    return found
