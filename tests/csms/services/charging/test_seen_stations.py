"""A station is seen by whatever it sends."""

import asyncio

from sqlalchemy import select

from csms.services import Services
from csms.stations.last_seen import LastSeen
from csms.stations.tables import stations
from tests.csms.backend import Backend
from tests.csms.services.charging.support import booted, running
from v2g.ocpp.times import format_time


async def last_seen_ms(services: Services) -> int:
    await services[LastSeen].flush()
    return int(await services.store.read(lambda c: c.execute(select(stations.c.last_seen_ms)).scalar_one()))


class Watch:
    """The watch of silent stations, as a work that runs."""

    def __init__(self, csms: Backend) -> None:
        self.run = csms.server.watch_silence


async def test_a_station_that_sends_other_things_is_seen_without_heartbeats(csms: Backend) -> None:
    """G02: heartbeats may be left out while other messages are sent; else it would be offline by an alert."""
    station = await booted(csms)
    beat_s = csms.services.config.ocpp.heartbeat_interval_s
    csms.clock.start()
    async with running(Watch(csms)):
        for _ in range(6):
            await asyncio.sleep(beat_s / 2)
            sample = {"value": 1.0, "measurand": "Voltage"}
            reading = {"timestamp": format_time(csms.clock.utc_ms()), "sampledValue": [sample]}
            await station.call("MeterValues", {"evseId": 1, "meterValue": [reading]})
        await asyncio.sleep(beat_s / 10)
        assert csms.clock.utc_ms() - await last_seen_ms(csms.services) <= 1_200 * beat_s
        assert "Heartbeat" not in {each.action for each in station.calls}
