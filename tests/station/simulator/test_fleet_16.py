"""Simulated stations that speak OCPP 1.6, at a scripted back end that refuses what violates the schemas (R199)."""

import asyncio

import pytest

from csms.script.declared import read_script
from csms.script.run import ScriptedBackEnd
from v2g_station.simulator.behaviour import Behaviour
from v2g_station.simulator.fleet import Simulator, StationFleet

EAGER = Behaviour(
    arrivals_per_hour=60, energy_kwh=(0.2, 1.0), linger_minutes=(0.0, 1.0), offline_per_day=100,
    offline_minutes=(0.5, 1.0), faults_per_day=0,
)  # fmt: skip
pytestmark = pytest.mark.requirement("R199")

SCRIPT = """
port: 0
subprotocols: [ocpp1.6]
calls:
  - {after: BootNotification, action: GetConfiguration, expect: {configurationKey.0.key: {present: true}}}
  - after: StartTransaction
    action: TriggerMessage
    payload: {requestedMessage: MeterValues}
    expect: {status: Accepted}
expect:
  - {action: StartTransaction, at_least: 2, when: {meterStart: {min: 0}}}
  - {action: MeterValues, when: {transactionId: {min: 1}}}
  - {action: StopTransaction, at_least: 2, when: {transactionId: {min: 1}, reason: {present: true}}}
"""


async def test_a_fleet_of_1_6_charges_at_a_script() -> None:
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    back_end = ScriptedBackEnd(read_script(SCRIPT, "script.yaml"), lambda *_: None, ready.set_result)
    serving = asyncio.create_task(back_end.run())
    fleet = StationFleet(
        url=f"ws://127.0.0.1:{await ready}/ocpp",
        versions=("1.6",),
        count=3,
        speed=600.0,
        ramp_per_s=200,
        behaviour=EAGER,
    )
    assert fleet.security_profile == 0
    running = asyncio.create_task(Simulator(fleet).run(None))
    async with asyncio.timeout(60):
        report = await serving
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert all(each.ok for each in report.checks), [each for each in report.checks if not each.ok]
