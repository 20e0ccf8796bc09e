"""Functional block N that only OCPP 2.1 has, of our station, its uploads against a real server."""

import datetime
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.station.bench import Bench, at
from tests.station.charging import charging as charging_any
from tests.station.device.file_server import file_server
from tests.station.monitors import monitors, report
from v2g_station.blocks.diagnostics.diagnostics import UploadLog
from v2g_station.device.logs import LogsConfig, LogSources, LogUploads

POWER: dict[str, Any] = {"component": {"name": "EVSE", "evse": {"id": 1}}, "variable": {"name": "Power"}}
VOLTAGE: dict[str, Any] = {
    "component": {"name": "ConnectedEV", "evse": {"id": 1}},
    "variable": {"name": "DCVoltage"},
}


def charging(**more: Any) -> Bench:
    """A station of 2.1 with a data collector that charges."""
    found = charging_any(version="2.1", **more)
    found.clear()
    return found


# -- logs


def collect(found: Bench, **values: str) -> dict[str, str]:
    """Set variables of the collector; return their statuses."""
    component = {"name": "DataCollector", "evse": {"id": 1}}
    names = [(n.partition("_")[0], n.partition("_")[2]) for n in values]
    data = [
        {
            "component": component,
            "variable": {"name": name} | ({"instance": instance} if instance else {}),
            "attributeValue": value,
        }
        for (name, instance), value in zip(names, values.values(), strict=True)
    ]
    results = found.ask("SetVariables", setVariableData=data)["setVariableResult"]
    return {r["variable"]["name"]: r["attributeStatus"] for r in results}


def get_log(found: Bench, url: str = "https://csms.example/", **window: str) -> str:
    """Ask for the collector's log."""
    wanted = {"remoteLocation": url} | window
    word: str = found.ask("GetLog", log=wanted, logType="DataCollectorLog", requestId=7)["status"]
    return word


def wanted(found: Bench) -> UploadLog:
    """What the station wants uploaded."""
    return [each for each in found.commands if isinstance(each, UploadLog)][-1]


def collecting() -> Bench:
    """A station that has collected power and energy for two seconds."""
    found = charging(optional=("DataCollector",))
    values = {
        "SamplingInterval": "0.2",
        "SampledMeasurands": "Power.Active.Import,Energy.Active.Import.Register",
        "DateTime_Start": at(found.utc_ms + 10_000),
        "DateTime_End": at(found.utc_ms + 12_000),
        "Enabled": "true",
    }
    assert set(collect(found, **values).values()) == {"Accepted"}
    found.wait(30)
    return found


def test_data_collector_log() -> None:
    found = collecting()
    assert get_log(found) == "Accepted"
    header, *lines = wanted(found).lines
    assert header == "timestamp,evseId,measurand,value,unit"
    assert len(lines) == 2 * 10, "ten samples, from the start to before the end"
    assert lines[0].endswith(",1,Energy.Active.Import.Register,1001.0,Wh")
    assert lines[1].endswith(",1,Power.Active.Import,11000,W")
    first, last = lines[0].split(",")[0], lines[-1].split(",")[0]
    assert get_log(found, oldestTimestamp=first, latestTimestamp=first) == "AcceptedCanceled"
    assert len(wanted(found).lines) == 3
    assert last < at(found.utc_ms)


def test_nothing_is_collected_where_that_is_not_switched_on() -> None:
    assert get_log(charging(optional=("DataCollector",))) == "Rejected"
    assert get_log(charging()) == "Rejected", "a station without a collector (N01.FR.05)"


def test_collecting_is_bounded_and_goes_on_after_a_restart() -> None:
    found = charging(optional=("DataCollector",))
    assert collect(found, SamplingInterval="0.01")["SamplingInterval"] == "Rejected"
    collect(found, SampledMeasurands="Voltage", Enabled="true")
    found.wait(5)
    found.power_loss()
    found.wait(3)
    get_log(found)
    assert 3 <= len(wanted(found).lines) - 1 <= 5
    collect(found, Enabled="false")
    before = len(wanted(found).lines)
    found.wait(60)
    get_log(found)
    assert len(wanted(found).lines) <= before + 1


Make = Callable[..., LogUploads]


@pytest.fixture
def uploads(tmp_path: Path) -> Make:
    """Make what carries a station's uploads out."""

    def make(found: Bench, roots: Path | None = None) -> LogUploads:
        async def at_once(_: float) -> None:
            return

        def context() -> ssl.SSLContext:
            return ssl.create_default_context(cafile=roots)

        return LogUploads(
            LogsConfig(), lambda: tmp_path, LogSources(), notify=found.fact, context=context, pause=at_once
        )

    return make


async def send(found: Bench, carrier: LogUploads, url: str) -> None:
    """Let the CSMS ask for a log, and the upload run to its end."""
    found.clear()
    answer = found.ask("GetLog", log={"remoteLocation": url}, logType="SecurityLog", requestId=3, retries=2)
    assert answer["status"] == "Accepted"
    carrier.start(wanted(found))
    await carrier.finished()
    found.expect("LogStatusNotification", status="Uploading", requestId=3)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(uploads: Make, status: int) -> None:
    found = Bench("2.1")
    with file_server() as server:
        server.judge = lambda *_: status
        await send(found, uploads(found), server.url + "/logs/")
        reported = found.expect("LogStatusNotification", status="UploadFailure", requestId=3)
        assert reported["statusInfo"]["reasonCode"] == "RedirectNotAllowed", "N01.FR.30"
        assert server.asked == 1, "neither elsewhere nor again"


async def test_a_url_that_is_none_fails(uploads: Make) -> None:
    found = Bench("2.1")
    for url in ("http:///", "http://csms.example:0/", "http://csms.example/\r\nX: y"):
        await send(found, uploads(found), url)
        assert "statusInfo" not in found.expect("LogStatusNotification", status="BadMessage", requestId=3)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the root that leads to it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    root, both = folder / "root.pem", folder / "server.pem"
    root.write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(private + root.read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, root


async def test_a_server_that_is_not_believed_gets_nothing(uploads: Make, secure: tuple[ssl.SSLContext, Path]) -> None:
    found = Bench("2.1")
    with file_server(secure[0]) as server:
        await send(found, uploads(found), server.url + "/logs/")
        found.expect("LogStatusNotification", status="UploadFailure", requestId=3)
        assert server.asked == 0


# -- monitors of targets


def test_tc_n_104_cs_target_delta_monitors() -> None:
    found = Bench("2.1", optional=("ConnectedEV",))
    model = found.station.kernel.model
    model.put("ConnectedEV#1.DCVoltage", "400")
    model.aim("ConnectedEV#1.DCVoltage", "400")
    wanted = [VOLTAGE | {"type": "TargetDelta", "value": 10}, VOLTAGE | {"type": "TargetDeltaRelative", "value": 0.1}]
    assert [each["status"] for each in monitors(found, *wanted)] == ["Accepted", "Accepted"]
    result = monitors(found, POWER | {"type": "TargetDelta", "value": 1})[0]["status"]
    assert result == "UnsupportedMonitorType", "a variable without a target"
    listed = report(found, monitoringCriteria=["DeltaMonitoring"], componentVariable=[VOLTAGE])
    assert [each["type"] for each in listed if isinstance(each, dict)] == ["TargetDelta", "TargetDeltaRelative"]
    found.clear()
    found.run(found.station.tick(found.moment))
    model.put("ConnectedEV#1.DCVoltage", "410")
    found.wait(1)
    found.nothing("NotifyEvent")
    model.put("ConnectedEV#1.DCVoltage", "411")
    found.wait(1)
    (event,) = found.expect("NotifyEvent")["eventData"]
    assert (event["trigger"], event["actualValue"]) == ("Alerting", "411"), "N07.FR.22"
    found.nothing("NotifyEvent")
    model.aim("ConnectedEV#1.DCVoltage", "500")
    found.wait(1)
    (event,) = found.expect("NotifyEvent")["eventData"]
    assert event["trigger"] == "Alerting", "411 is more than a tenth below 500 (N07.FR.23)"
    model.put("ConnectedEV#1.DCVoltage", "495")
    found.wait(1)
    assert [found.expect("NotifyEvent")["eventData"][0]["cleared"] for _ in range(2)] == [True, True]


# -- periodic event streams


def stream(found: Bench, **params: int) -> int:
    """Let EVSE 1's power be reported every two seconds as a stream; return the monitor's number."""
    data = POWER | {"type": "Periodic", "value": 2, "periodicEventStream": params}
    (result,) = monitors(found, data)
    assert result["status"] == "Accepted"
    number: int = result["id"]
    return number


def values(found: Bench) -> list[tuple[int, list[float], int]]:
    """The messages of streams: stream, offsets, how many wait."""
    messages = found.all("NotifyPeriodicEventStream")
    assert all(message["data"][0]["t"] == 0 for message in messages), "N15.FR.09"
    return [(m["id"], [element["t"] for element in m["data"]], m["pending"]) for m in messages]


def test_a_stream_reports_as_soon_as_there_are_enough_values() -> None:
    found = charging()
    number = stream(found, values=3)
    found.wait(7)
    assert values(found) == [(number, [0, 2, 4], 0)], "N15.FR.08"


def test_a_monitor_that_is_set_again_without_a_stream_has_none() -> None:
    found = charging()
    number = stream(found, interval=60)
    found.wait(5)
    found.clear()
    monitors(found, POWER | {"type": "Periodic", "value": 2, "id": number})
    found.expect("NotifyPeriodicEventStream", id=number)
    found.expect("ClosePeriodicEventStream", id=number)  # N13.FR.06
    found.wait(3)
    assert found.expect("NotifyEvent")["eventData"][0]["variableMonitoringId"] == number


def test_streams_are_adjusted() -> None:
    found = charging()
    number = stream(found, interval=60)
    found.wait(1)
    adjusted = found.ask("AdjustPeriodicEventStream", id=number, params={"values": 2})
    assert adjusted["status"] == "Accepted"
    found.wait(8)
    assert [offsets for _, offsets, _ in values(found)] == [[0, 2], [0, 2]], "N14.FR.03"
    for wrong in ({"id": number, "params": {}}, {"id": 999, "params": {"interval": 5}}):
        assert found.ask("AdjustPeriodicEventStream", wrong)["status"] == "Rejected", "N14.FR.02"
    found.clear()
    found.power_loss()
    opened = found.expect("OpenPeriodicEventStream")["constantStreamData"]
    assert opened == {"id": number, "variableMonitoringId": number, "params": {"values": 2}}, "it is kept"


def test_a_stream_that_nobody_wants_any_more_when_it_is_accepted_is_closed() -> None:
    found = charging()
    found.answers["OpenPeriodicEventStream"] = None
    number = stream(found, interval=10)
    found.ask("ClearVariableMonitoring", id=[number])
    found.answer_late("OpenPeriodicEventStream", status="Accepted")
    found.expect("ClosePeriodicEventStream", id=number)


def test_values_wait_while_the_csms_is_away_and_the_oldest_go() -> None:
    found = charging()
    number = stream(found, interval=10, values=300)
    found.wait(1)
    found.drop()
    found.wait(3000)
    found.back(600)
    found.wait(30)
    reported = values(found)
    assert [entry[0] for entry in reported] == [number] * len(reported)
    assert all(len(offsets) <= 300 for _, offsets, _ in reported), "N15.FR.07"
    assert 1000 <= sum(len(offsets) for _, offsets, _ in reported) <= 1020
    assert reported[0][2] > 0, "N15.FR.04"
    assert not [e for e in found.all("NotifyEvent") if e["eventData"][0]["trigger"] == "Periodic"]


def test_no_more_streams_than_the_station_has() -> None:
    found = charging()
    wanted = [
        POWER | {"type": "Periodic", "value": 30, "severity": n, "periodicEventStream": {"interval": 60}}
        for n in range(10)
    ]
    wanted.append(POWER | {"type": "PeriodicClockAligned", "value": 30, "periodicEventStream": {"interval": 60}})
    assert {each["status"] for each in monitors(found, *wanted)} == {"Accepted"}
    found.wait(1)
    assert len(found.all("OpenPeriodicEventStream")) == 10


@pytest.mark.parametrize(
    "more",
    [
        {"type": "Delta", "value": 5, "periodicEventStream": {"interval": 5}},
        {"type": "Periodic", "value": 5, "periodicEventStream": {}},
        {"type": "Periodic", "value": 5, "periodicEventStream": {"values": 100_000}},
    ],
)
def test_what_is_no_stream_is_rejected(more: dict[str, Any]) -> None:
    assert monitors(Bench("2.1"), POWER | more)[0]["status"] == "Rejected"
