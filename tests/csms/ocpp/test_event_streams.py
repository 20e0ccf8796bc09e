"""Functional block N of 2.1, periodic event streams: CSMS cases, by the use cases that they name (N11 to N15)."""

import pytest

from csms.diagnostics import store as rows
from csms.diagnostics import work as monitoring
from tests.csms.backend import Backend
from tests.csms.customers import accepted
from tests.csms.monitors import EVSE_1, NOW, POWER, install
from tests.waiting import until
from v2g.errors import RefusedError
from v2g.ocpp.messages.monitoring import PeriodicEventStreamParams, SetMonitoringData

STREAM = {"id": 5, "variableMonitoringId": 7, "params": {"interval": 10, "values": 3}}


async def settle(csms: Backend, count: int) -> None:
    """Wait until that many streamed messages have been worked on."""
    await until(lambda: len(csms.events.named("event_stream")) >= count)


async def test_readings_of_a_stream_are_stored_while_it_is_open(csms: Backend) -> None:
    """N11 to N15: a monitor with a stream, which is opened, read, adjusted and closed; readings have no answers."""
    station = await csms.booted(version="2.1")
    install(station)
    wanted = SetMonitoringData(
        value=1.0, type="Periodic", severity=8, component=EVSE_1, variable=POWER,
        periodic_event_stream=PeriodicEventStreamParams(interval=10, values=3),
    )  # fmt: skip
    await monitoring.set_monitors(csms.services, station.id, [wanted])
    (sent,) = station.payloads("SetVariableMonitoring")
    assert sent["setMonitoringData"][0]["periodicEventStream"] == {"interval": 10, "values": 3}
    assert await station.call("OpenPeriodicEventStream", {"constantStreamData": STREAM}) == accepted
    data = {"id": 5, "pending": 0, "basetime": NOW, "data": [{"t": 0, "v": "230.0"}, {"t": 1.5, "v": "231.0"}]}
    station.send("NotifyPeriodicEventStream", data)
    station.send("NotifyPeriodicEventStream", {**data, "id": 6})
    station.send("NotifyPeriodicEventStream", {"id": 5})
    station.send("NotifyPeriodicEventStream", {**data, "id": 10**30})
    station.send("NotifyPeriodicEventStream", {**data, "data": [{"t": 1e300, "v": "1"}]})
    await settle(csms, 2)
    values = await csms.services.store.run(rows.list_stream_values, None, 100, station.id, 5)
    assert [(each["value"], each["monitor_id"]) for each in values] == [("231.0", 7), ("230.0", 7)]
    assert values[0]["at_ms"] - values[1]["at_ms"] == 1500
    assert await csms.services.store.run(rows.list_stream_values, None, 100, station.id, 6) == []
    assert station.stray == []  # N15.FR.02: nothing is answered, not even what is wrong

    station.answers["AdjustPeriodicEventStream"] = accepted
    await monitoring.adjust_stream(csms.services, station.id, 5, PeriodicEventStreamParams(interval=60))
    (stream,) = await csms.services.store.run(rows.list_streams, station.id)
    assert (stream["interval_s"], stream["batch"]) == (60, None)
    assert await station.call("ClosePeriodicEventStream", {"id": 5}) == {}
    station.send("NotifyPeriodicEventStream", data)
    await settle(csms, 3)
    assert len(await csms.services.store.run(rows.list_stream_values, None, 100, station.id, 5)) == 2


async def test_a_station_that_falls_behind_with_a_stream_is_noticed(csms: Backend) -> None:
    """N15.FR.05."""
    station = await csms.booted(version="2.1")
    await station.call("OpenPeriodicEventStream", {"constantStreamData": STREAM})
    for count, pending in enumerate((0, 5, 9, 4, 5, 6, 7), 1):
        data = {"id": 5, "pending": pending, "basetime": NOW, "data": [{"t": 0, "v": "1"}]}
        station.send("NotifyPeriodicEventStream", data)
        await settle(csms, count)
    assert [each.data["pending"] for each in csms.events.named("event_stream_behind")] == [7]


async def test_a_stream_needs_a_rate(csms: Backend) -> None:
    """N11.FR.09."""
    station = await csms.booted(version="2.1")
    wanted = SetMonitoringData(
        value=1.0, type="Periodic", severity=8, component=EVSE_1, variable=POWER,
        periodic_event_stream=PeriodicEventStreamParams(),
    )  # fmt: skip
    with pytest.raises(RefusedError):
        await monitoring.set_monitors(csms.services, station.id, [wanted])
