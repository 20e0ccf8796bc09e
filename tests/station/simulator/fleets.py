"""A fleet of simulated stations before a back end that keeps what they send."""

import asyncio
from typing import Any

from tests.secc.backend import Backend
from v2g.io.runtime.supervision import cancel_tasks
from v2g_station.simulator.behaviour import Behaviour
from v2g_station.simulator.fleet import Simulator, StationFleet

EAGER = Behaviour(
    arrivals_per_hour=60, energy_kwh=(0.2, 1.0), linger_minutes=(0.0, 1.0), offline_per_day=100,
    offline_minutes=(0.5, 1.0), faults_per_day=0,
)  # fmt: skip


async def run(csms: Backend, transactions: int, **more: Any) -> Simulator:
    """Run a fleet until all have booted and the CSMS knows of so many transactions, and of the end of one."""
    fleet = StationFleet(
        url=f"ws://127.0.0.1:{csms.port}/ocpp",
        speed=600.0,
        ramp_per_s=200,
        **({"count": 5, "behaviour": EAGER} | more),
    )
    simulator = Simulator(fleet)
    running = asyncio.create_task(simulator.run(None))
    await csms.wait("BootNotification", len(simulator.stations))
    await csms.wait("TransactionEvent", where=lambda event: event["event_type"] == "Ended")
    while len({each["transaction_info"]["transaction_id"] for each in csms.all("TransactionEvent")}) < transactions:
        await csms.wait("TransactionEvent", len(csms.all("TransactionEvent")) + 1)
    await cancel_tasks(running)
    return simulator
