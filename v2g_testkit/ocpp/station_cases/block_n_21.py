"""Functional block N, diagnostics, of OCPP 2.1: logs (N01), periodic event streams (N11 to N15); cases for charging
stations."""

import base64
import itertools
from collections.abc import Iterable
from typing import Final

from v2g_testkit.ocpp.case import Block, NotApplicable, Payload, given, precondition
from v2g_testkit.ocpp.file_server import FileServer
from v2g_testkit.ocpp.station_cases.block_n import monitors_of, uploads
from v2g_testkit.ocpp.station_cases.roots import CSMS, install
from v2g_testkit.ocpp.station_cases.steps import prefer
from v2g_testkit.ocpp.station_cases.transfers import LOGS, get_log, log_state
from v2g_testkit.ocpp.station_tester import StationTest

N_21: Final[Block[StationTest]] = Block(versions=("2.1",))
N_MONITORS: Final = N_21.having(profiles=("Advanced Device Management",), needs=("MonitoringCtrlr.Available",))

_EVERY_S: Final = 2
_MOST: Final = 40
"""Variables of which a case tries whether they can be monitored."""


# -- logs (N01)

_COLLECTOR: Final = "DataCollector"
_USER, _SECRET = "v2g-logs", "an-upload-password"


@N_21.case(
    "TC_N_100_CS", "Upload of what the data collector has collected", also="N01.FR.01 N01.FR.02 N01.FR.08 N01.FR.09"
)
async def collected(t: StationTest) -> None:
    """The station names the file, uploads it, and reports Uploading and Uploaded."""
    await t.demand(_COLLECTOR, "Enabled", "false", evse=1)
    measurands = t.values_of(_COLLECTOR, "SampledMeasurands")
    wanted = "Energy.Active.Import.Register"
    wanted = wanted if wanted in measurands or not measurands else measurands[0]
    for name, value, more in (
        ("DateTime", t.later(-60), {"instance": "Start"}), ("DateTime", t.later(600), {"instance": "End"}),
        ("SamplingInterval", "1", {}), ("SampledMeasurands", wanted, {}),
    ):  # fmt: skip
        await prefer(t, _COLLECTOR, name, value, evse=1, **more)
    await t.demand(_COLLECTOR, "Enabled", "true", evse=1)
    await t.charging()
    await t.wait(10)
    await uploads(t, "DataCollectorLog", "N01.FR.24")


@N_21.case("TC_N_101_CS", "Upload that is redirected", requirements="N01.FR.08 N01.FR.30")
async def redirected(t: StationTest) -> None:
    """The station does not follow the redirection, and reports UploadFailure."""
    files, url = await t.file_server()
    files.status, files.location = 307, f"{url}/elsewhere"
    _, number, status = await get_log(t, retries=0)
    t.check(status == "Accepted", "N01.FR.01", f"answers {status}")
    await log_state(t, number, "N01.FR.08", "Uploading")
    await log_state(t, number, "N01.FR.30", "UploadFailure")
    t.check(not [each for each in files.asked if each.endswith("/elsewhere")], "N01.FR.30", "follows the redirection")


async def _authenticates(t: StationTest, server: tuple[FileServer, str]) -> None:
    """Expect an upload with the name and password of its URL. Raises Failed."""
    files, url = server
    t.hide(_SECRET)
    files.authorization = "Basic " + base64.b64encode(f"{_USER}:{_SECRET}".encode()).decode()
    _, number, status = await get_log(t, server=(files, url.replace("://", f"://{_USER}:{_SECRET}@")))
    t.check(status == "Accepted", "N01.FR.01", f"answers {status}")
    await log_state(t, number, "N01.FR.08", "Uploading")
    await log_state(t, number, "N01.FR.25", "Uploaded")
    t.check(len(files.uploads) == 1, "N01.FR.25", f"uploads {len(files.uploads)} files with the password")
    path = files.uploads[0].path
    t.check(path.startswith(LOGS) and path != LOGS, "N01.FR.21", f"uploads to {path}")


@N_21.case("TC_N_102_CS", "Upload with a password", also="N01.FR.21 N01.FR.25")
async def with_password(t: StationTest) -> None:
    """The station authenticates itself with the name and password of the URL, and uploads the file."""
    await _authenticates(t, await t.file_server())


@N_21.case("TC_N_103_CS", "Upload with a password, over TLS", also="N01.FR.15 N01.FR.21 N01.FR.25")
async def with_password_over_tls(t: StationTest) -> None:
    """The station trusts a server by a root of the back end, authenticates itself, and uploads the file."""
    root = await given(install(t, CSMS))
    await _authenticates(t, await t.file_server(root.server(t.server_name)))


# -- monitors of targets (N02)


@N_MONITORS.case("TC_N_104_CS", "Monitors of targets, in a report", also="N02.FR.05")
async def targets(t: StationTest) -> None:
    """The station reports them among the monitors of changes, and not among those of thresholds."""
    number = await _accepted(t, (each for each in _numeric(t) if _has_target(each)), "TargetDelta", 10.0)
    for criterion, there in (("DeltaMonitoring", True), ("ThresholdMonitoring", False)):
        found = {each["id"]: each["type"] for each in await monitors_of(t, criteria=[criterion])}
        # with the monitors of changes by the errata of 2025-09
        requirement = "N02.FR.13" if there else "N02.FR.12"
        about = f"reports it as {found.get(number, 'nothing')} for {criterion}"
        t.check(found.get(number) == ("TargetDelta" if there else None), requirement, about)


def _has_target(entry: Payload) -> bool:
    return any(each.get("type") == "Target" for each in entry["variableAttribute"])


# -- streams (N11 to N15)


async def _monitor(t: StationTest, **params: int) -> int:
    """Set a periodic monitor with a stream, which is cleared after the case; return its number. Raises NotApplicable.

    The first variable that allows it is taken: which these are differs between stations.
    """
    numeric = sorted(_numeric(t), key=lambda each: each["variable"]["name"] != "Power")
    return await _accepted(t, numeric, "Periodic", float(_EVERY_S), periodicEventStream=params)


def _numeric(t: StationTest) -> list[Payload]:
    """Return what the station has reported of numbers that can be monitored."""
    return [
        each for each in t.reported
        if each.get("variableCharacteristics", {}).get("supportsMonitoring")
        and each["variableCharacteristics"].get("dataType") in ("decimal", "integer")
    ]  # fmt: skip


async def _accepted(t: StationTest, entries: Iterable[Payload], kind: str, value: float, **more: object) -> int:
    """Set a monitor of the first variable that allows it, which is cleared after the case; return its number.

    Raises NotApplicable if none does.
    """
    for each in itertools.islice(entries, _MOST):
        place = {"component": each["component"], "variable": each["variable"]}
        data = place | {"type": kind, "value": value, "severity": 5} | more
        (result,) = (await t.ask("SetVariableMonitoring", setMonitoringData=[data]))["setMonitoringResult"]
        if result["status"] == "Accepted":
            break
    else:
        raise NotApplicable(f"no variable of it can have a monitor of the type {kind}")
    number: int = result["id"]
    t.undo(lambda: t.ask("ClearVariableMonitoring", id=[number]))
    return number


async def _opened(t: StationTest, monitor: int) -> Payload:
    """Expect the stream of a monitor to be opened; return its data. Raises Failed."""
    sent = await t.expect("OpenPeriodicEventStream", "N11.FR.02", constantStreamData__variableMonitoringId=monitor)
    data: Payload = sent["constantStreamData"]
    return data


async def _stream(t: StationTest, **params: int) -> tuple[int, int]:
    """Let a stream be open; return it and its monitor."""
    with precondition():
        monitor = await _monitor(t, **params)
        return (await _opened(t, monitor))["id"], monitor


async def _open(t: StationTest) -> set[int]:
    """Return the streams that the station says are open."""
    answer = await t.ask("GetPeriodicEventStream")
    return {each["id"] for each in answer.get("constantStreamData", [])}


@N_MONITORS.case("TC_N_105_CS", "Stream of a periodic monitor", also="N15.FR.01")
async def stream(t: StationTest) -> None:
    """The station opens the stream, and sends the values in its interval, in streams only."""
    monitor = await _monitor(t, interval=10)
    data = await _opened(t, monitor)
    t.check(data.get("params") == {"interval": 10}, "N11.FR.02", f"opens it with {data.get('params')}")
    t.check(data["id"] in await _open(t), "N12.FR.01", "does not report the stream as open")
    times = []
    for _ in range(2):
        sent = await t.expect("NotifyPeriodicEventStream", "N15.FR.06", within=t.after(10), id=data["id"])
        times.append(t.elapsed())
        offsets = [each["t"] for each in sent["data"]]
        t.check(offsets[0] == 0 and offsets == sorted(offsets), "N15.FR.09", f"sends the offsets {offsets}")
    t.check(abs(times[1] - times[0] - 10) <= 2, "N15.FR.06", f"sends it after {times[1] - times[0]:.0f} s")
    events = [one for each in t.seen("NotifyEvent") for one in each["eventData"]]
    doubled = any(each.get("variableMonitoringId") == monitor for each in events)
    t.check(not doubled, "N11.FR.01", "sends the values by NotifyEvent, too")


@N_MONITORS.case("TC_N_106_CS", "Stream that the back end rejects", also="N11.FR.02")
async def rejected(t: StationTest) -> None:
    """The station sends the values by NotifyEvent instead, and reports no stream."""
    t.answer("OpenPeriodicEventStream", {"status": "Rejected"})
    monitor = await _monitor(t, interval=10)
    data = await _opened(t, monitor)
    found = await t.find(lambda each: each.action == "NotifyEvent" and any(
        one.get("variableMonitoringId") == monitor for one in each.payload["eventData"]
    ))  # fmt: skip
    t.check(found is not None, "N11.FR.07", "sends no NotifyEvent of the monitor")
    t.check(data["id"] not in await _open(t), "N12.FR.01", "reports the stream as open")
    await t.nothing("NotifyPeriodicEventStream", "N11.FR.07", within=12, id=data["id"])


@N_MONITORS.case("TC_N_108_CS", "Clear a monitor that has a stream")
async def closed(t: StationTest) -> None:
    """The station sends what it has, closes the stream, and sends nothing more."""
    number, monitor = await _stream(t, interval=60)
    await t.wait(3 * _EVERY_S)
    t.forget()
    (result,) = (await t.ask("ClearVariableMonitoring", id=[monitor]))["clearMonitoringResult"]
    t.check(result["status"] == "Accepted", "N13.FR.05", f"answers {result['status']}")
    sent = await t.expect("NotifyPeriodicEventStream", "N13.FR.03", id=number)
    t.check(sent["pending"] == 0, "N13.FR.03", f"keeps {sent['pending']} values")
    await t.expect("ClosePeriodicEventStream", "N13.FR.01", id=number)
    t.check(number not in await _open(t), "N12.FR.01", "reports the stream as open")
    await t.nothing("NotifyPeriodicEventStream", "N13.FR.01", within=5, id=number)


@N_MONITORS.case("TC_N_109_CS", "Adjust a stream")
async def adjusted(t: StationTest) -> None:
    """The station sends as many values at a time as it is asked to, and rejects streams that there are not."""
    number, _ = await _stream(t, interval=60)
    await t.must_answer("Accepted", "N14.FR.03", "AdjustPeriodicEventStream", id=number, params={"values": 2})
    for _ in range(2):
        sent = await t.expect("NotifyPeriodicEventStream", "N14.FR.03", within=t.after(2 * _EVERY_S), id=number)
    t.check(len(sent["data"]) == 2, "N15.FR.08", f"sends {len(sent['data'])} values at a time")
    answer = await t.ask("AdjustPeriodicEventStream", id=number + 4711, params={"interval": 5})
    t.check(answer["status"] == "Rejected", "N14.FR.02", f"answers {answer['status']} for an unknown stream")
