"""Functional block F, remote control, beyond the cases of the test lab."""

from typing import Any

import pytest

from csms.remote_control import store as commands
from csms.remote_control import work as remote_control
from tests.csms.backend import Backend
from tests.csms.charging import Charging
from tests.csms.customers import CUSTOMER, TOKENS, VALID, Start, accepted
from tests.csms.scripted_station import Payload, Refused, ScriptedStation
from v2g.errors import OcppError, RefusedError
from v2g.ocpp.messages.charging_profiles import ChargingProfile, ChargingSchedule, ChargingSchedulePeriod
from v2g.ocpp.messages.transactions import TransactionLimit


async def start(csms: Backend, station: ScriptedStation, answer: Payload, **more: Any) -> int:
    """Have the back end ask for a transaction; return its remoteStartId."""
    station.answers["RequestStartTransaction"] = answer
    started = await remote_control.start(csms.services, station.id, CUSTOMER, evse_id=1, **more)
    sent = station.payloads("RequestStartTransaction")[-1]
    assert sent["idToken"] == VALID
    assert sent["remoteStartId"] == started.remote_start_id
    assert started.response.status == answer["status"]
    return started.remote_start_id


async def remote_event(charging: Charging, kind: str, number: int, **more: Any) -> Payload:
    """Send the event that names the remote start."""
    info = {"transactionId": charging.id, "remoteStartId": number}
    return await charging.event(kind, "RemoteStart", token=VALID, extra={"transactionInfo": info}, **more)


async def matched(csms: Backend, number: int) -> str | None:
    """Return the transaction that a remote start led to."""
    found = await csms.services.store.run(commands.find_start, number)
    assert found is not None
    transaction: str | None = found["transaction_id"]
    return transaction


async def test_the_status_of_an_answer_is_told(csms: Backend) -> None:
    station = await csms.booted()
    station.answers["UnlockConnector"] = {"status": "UnknownConnector"}
    assert (await remote_control.unlock(csms.services, station.id, 1, 1)).status == "UnknownConnector"
    (event,) = csms.events.named("command_result")
    assert event.data["status"] == "UnknownConnector"


async def test_a_callerror_is_the_answer_and_is_noted(csms: Backend) -> None:
    station = await csms.booted()
    station.answers["RequestStartTransaction"] = Refused("InternalError", "no")
    with pytest.raises(OcppError, match="InternalError"):
        await remote_control.start(csms.services, station.id, CUSTOMER)
    found = await csms.services.store.run(commands.find_start, 1)
    assert found is not None
    assert found["answer"] == "NotSent"


async def test_only_a_profile_for_a_transaction_to_come_goes_along(csms: Backend) -> None:
    """F01.FR.09, F01.FR.11."""
    station = await csms.booted()
    station.answers["RequestStartTransaction"] = accepted
    schedule = ChargingSchedule(
        id=1,
        charging_rate_unit="W",
        charging_schedule_period=(ChargingSchedulePeriod(start_period=0, limit=3700.0),),
    )
    good = ChargingProfile(
        id=1, stack_level=0, charging_profile_purpose="TxProfile", charging_profile_kind="Relative",
        charging_schedule=(schedule,),
    )  # fmt: skip
    await remote_control.start(csms.services, station.id, CUSTOMER, charging_profile=good)
    import msgspec

    for bad in (
        msgspec.structs.replace(good, charging_profile_purpose="TxDefaultProfile"),
        msgspec.structs.replace(good, transaction_id="tx-1"),
    ):
        with pytest.raises(RefusedError):
            await remote_control.start(csms.services, station.id, CUSTOMER, charging_profile=bad)
    assert len(station.payloads("RequestStartTransaction")) == 1


@pytest.mark.parametrize("plugged", [False, True], ids=["first", "vehicle-waits"])
async def test_the_limit_of_a_remote_start_goes_to_the_transaction_that_it_starts(
    backend: Start, *, plugged: bool
) -> None:
    """F07.FR.02."""
    async with backend(tokens=TOKENS) as csms:
        charging = Charging(csms, await csms.booted(version="2.1"))
        if plugged:
            await charging.plugged()
        number = await start(csms, charging.station, accepted, limit=TransactionLimit(max_energy=10_000.0))
        answer = await remote_event(charging, "Updated" if plugged else "Started", number)
        assert answer["transactionLimit"] == {"maxEnergy": 10_000.0}
        assert "transactionLimit" not in await remote_event(charging, "Updated", number)


async def test_a_transaction_is_stopped_by_its_id_alone(backend: Start) -> None:
    """F03.FR.01."""
    async with backend(tokens=TOKENS) as csms:
        charging = Charging(csms, await csms.booted())
        await charging.started()
        charging.station.answers["RequestStopTransaction"] = accepted
        assert (await remote_control.stop(csms.services, charging.id)).status == "Accepted"
        assert charging.station.payloads("RequestStopTransaction") == [{"transactionId": charging.id}]
        with pytest.raises(RefusedError, match="no active transaction"):
            await remote_control.stop(csms.services, "unheard-of")


async def test_a_remote_start_of_another_station_is_not_matched(backend: Start) -> None:
    async with backend(tokens=TOKENS) as csms:
        first, second = await csms.booted(), await csms.booted("CS-V2G-0002")
        number = await start(csms, first, accepted)
        await remote_event(Charging(csms, second), "Started", number)
        assert await matched(csms, number) is None
