"""Metrics of the real programs through faults, and the boards and alerts that read them."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from csms.accounts.rules import Role
from csms.telemetry.config import TelemetryConfig, TelemetrySink
from docs.metrics import metrics
from pki_tools.tree import PkiTree
from tests.csms.program import Program, write_config
from tests.csms.support import TOKENS, Running, make_config
from tests.csms.telemetry.sinks import InfluxServer
from tests.deploy.service import UNITS
from tests.gateway.program import supervised
from tests.gateway.serial_bus import SerialBus, driving
from tests.interop.environments import environment
from tests.packages import need
from tests.telemetry.brokers import access, source
from v2g_cli.demo.broker import Broker

FILES = UNITS.parent / "monitoring"
BOARDS = sorted((FILES / "grafana").glob("*.json"))
EV = "EV-1"
Series = dict[tuple[str, str], float]
"""Values by name and by the value of the only label, or an empty string."""


def alerts() -> dict[str, str]:
    """Return the expression of each alert."""
    groups = yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def panels() -> dict[str, list[str]]:
    """Return the expressions of each panel of the boards."""
    return {
        f"{path.stem}: {panel['title']}": [target["expr"] for target in panel["targets"]]
        for path in BOARDS
        for panel in json.loads(path.read_text())["panels"]
    }


def read(text: str) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, next(iter(sample.labels.values()), "")] = sample.value
    return found


async def scrape(csms: Program) -> Series:
    """Read the metrics as Prometheus does, with a token of the role `monitor`."""
    context = Running.context(csms, None)  # type: ignore[arg-type]
    headers = {"Authorization": f"Bearer {TOKENS[Role.MONITOR]}"}
    url = f"https://127.0.0.1:{csms.ports['api']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=context) as answer:
        assert answer.status == 200
        return read(await answer.text())


async def until(csms: Program, holds: Callable[[Series], bool]) -> Series:
    async with asyncio.timeout(60):
        while not holds(found := await scrape(csms)):
            await asyncio.sleep(0.1)
    return found


@pytest.mark.long
async def test_metrics_show_a_lost_broker_a_failing_sink_and_a_silent_vehicle(
    pki: PkiTree, broker: Broker, tmp_path: Path
) -> None:
    """The real back end, gateway and mosquitto. Each metric that an alert or the board reads is in what they report."""
    influx, bus = InfluxServer(), SerialBus()
    token = tmp_path / "influx.token"
    token.touch(mode=0o600)
    token.write_text(InfluxServer.TOKEN)
    sink = TelemetrySink(name="lake", url=influx.url, secret_file=token)
    config = make_config(
        tmp_path, pki, mqtt=source(broker, pki), telemetry=TelemetryConfig(sinks=(sink,), silent_after_s=2.0)
    )
    csms = await Program.start(write_config(tmp_path / "csms.yaml", config), tmp_path / "csms.events", pki)
    mqtt = access(broker, pki, EV)
    keys = "".join(f'{name} = "{getattr(mqtt, name)}"\n' for name in ("ca", "chain", "key"))
    prom = tmp_path / "v2g_gateway.prom"
    gateway = (
        f'ev = "{EV}"\noutbox = "o.db"\nmetrics_file = "{prom}"\n'
        f'[can]\ninterface = "slcan"\nchannel = "{bus.channel}"\n'
        f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n{keys}'
    )
    daemon = "-c", "from v2g_cli.telemetry import main; main()"
    try:
        async with supervised(tmp_path, sys.executable, *daemon, config=gateway) as running:
            await running.until("started", 1)
            async with driving(bus):
                now = await until(csms, lambda now: now["v2g_telemetry_records_total", "stored"] > 10)
                assert (await csms.request("GET", "/health"))[1]["status"] == "ok"
                assert now["v2g_telemetry_broker_connected", ""] == now["v2g_telemetry_vehicles", ""] == 1
                assert now["v2g_telemetry_ingest_delay_seconds_count", ""] > 10
                assert now["v2g_telemetry_delivery_seconds_count", ""] > 0
                assert now["v2g_telemetry_silent_vehicles", ""] == now["v2g_telemetry_quarantine", ""] == 0
                assert 0 < now["v2g_disk_free_bytes", ""] < now["v2g_disk_size_bytes", ""]
                names = {name for name, _ in now} | {name for name, _ in read(prom.read_text())}
                await until(csms, lambda now: now["v2g_telemetry_sink_records_total", "lake"] > 0)

                influx.failing = True
                now = await until(csms, lambda now: now["v2g_telemetry_sink_failures_total", "lake"] > 0)
                now = await until(csms, lambda now: now["v2g_telemetry_sink_backlog", "lake"] > 5)
                assert now["v2g_telemetry_sink_failing", "lake"] == 1
                assert now["v2g_telemetry_sink_backlog_seconds", "lake"] > 0
                influx.failing = False
                now = await until(csms, lambda now: now["v2g_telemetry_sink_failing", "lake"] == 0)
            now = await until(csms, lambda now: now["v2g_telemetry_silent_vehicles", ""] == 1)

            broker.stop()
            now = await until(csms, lambda now: now["v2g_telemetry_broker_connected", ""] == 0)
            status, health = await csms.request("GET", "/health")
            assert (status, health["status"], health["broker_connected"]) == (200, "degraded", False)
            assert (await csms.request("GET", "/health/ready"))[0] == 200  # stations are still served
            back = await asyncio.to_thread(broker.again)
            await until(csms, lambda now: now["v2g_telemetry_broker_connected", ""] == 1)
            assert (await csms.request("GET", "/health"))[1]["status"] == "ok"
            back.stop()
        assert EV not in prom.read_text()
    finally:
        await csms.kill()
        influx.close()
        bus.close()
    used = named(alerts().values()) | named(each for every in panels().values() for each in every)
    of_vehicles = {each for each in used if each.startswith(("v2g_telemetry_", "v2g_gateway_", "v2g_disk_"))}
    assert len(of_vehicles) > 20
    assert of_vehicles <= names


def test_boards_and_alerts_read_metrics_and_labels_that_the_programs_have() -> None:
    """The reference's tables are what the programs export (tests/docs/test_metrics.py)."""
    tables = "".join(map(metrics, ("csms", "gateway", "secc")))
    there = {
        f"{name}{of}": {*filter(None, labels.split(",")), "instance", "le"}
        for name, labels in re.findall(r"^\| `(\w+?)(?:\{(.*?)\})?`", tables, re.MULTILINE)
        for of in ("", "_bucket", "_count", "_sum")
    }
    for expression in (*alerts().values(), *(each for every in panels().values() for each in every)):
        assert named([expression]) <= there.keys(), expression
        labels = {each.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for each in group.split(",")}
        labels |= set(re.findall(r"[{,](\w+)=", expression))
        assert labels - {"job"} <= set[str]().union(*(there[name] for name in named([expression]))), expression
    shown = named(each for every in panels().values() for each in every)
    assert set(re.findall(r"^\| `(v2g_charger_\w+)", tables, re.MULTILINE)) <= shown
    assert len({json.loads(path.read_text())["uid"] for path in BOARDS}) == len(BOARDS)


@pytest.mark.long
@pytest.mark.parametrize("path", BOARDS, ids=lambda each: each.stem)
def test_a_board_is_one_by_grafana_s_own_schema(path: Path) -> None:
    """Grafana's SDK is made from the schema of dashboards: what it does not know, it loses."""
    python = environment("grafana", ("grafana-foundation-sdk==1769699998!10.1.0",))
    done = subprocess.run([python, "-c", THROUGH_THE_SDK, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    board = json.loads(path.read_text())
    assert _without_more(json.loads(done.stdout), board) == board


THROUGH_THE_SDK = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
register_default_plugins()
print(JSONEncoder().encode(Dashboard.from_json(json.load(open(sys.argv[1])))))
"""


def _without_more(whole: Any, part: Any) -> Any:
    """Return of `whole` what `part` has too, which may leave out defaults."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return {key: _without_more(whole[key], value) for key, value in part.items() if key in whole}
    if isinstance(whole, list) and isinstance(part, list) and len(whole) == len(part):
        return list(map(_without_more, whole, part))
    return whole


def test_provisioning_reads_the_boards() -> None:
    (provider,) = yaml.safe_load((FILES / "grafana" / "dashboards.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((FILES / "grafana" / "datasources.yaml").read_text())["datasources"]
    assert (provider["type"], source["type"]) == ("file", "prometheus")
    page = (FILES.parents[1] / "docs" / "how-to" / "monitor-with-prometheus.md").read_text()
    assert provider["options"]["path"] in page


def named(expressions: Iterable[str]) -> set[str]:
    """Return the metrics in some expressions."""
    return {name for each in expressions for name in re.findall(r"\bv2g_\w+", each)}


def test_prometheus_accepts_rules_board_and_configuration(tmp_path: Path) -> None:
    need("prometheus", program="promtool")
    (tmp_path / "alerts.yaml").write_text((FILES / "alerts.yaml").read_text())
    expressions = [each for every in panels().values() for each in every]
    rules = [{"record": f"board:{number}", "expr": each} for number, each in enumerate(expressions)]
    (tmp_path / "board.yaml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    (tmp_path / "prometheus.yaml").write_text((FILES / "prometheus.yaml").read_text())
    for name in ("monitor.token", "csms-root.pem", "status.token"):
        (tmp_path / name).write_text("")
    for what, name in (("rules", "alerts.yaml"), ("rules", "board.yaml"), ("config", "prometheus.yaml")):
        done = subprocess.run(["promtool", "check", what, name], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


FAULTS = {
    "V2gBrokerLost": ({"v2g_telemetry_broker_connected": "0x30"}, {"v2g_telemetry_broker_connected": "1x30"}),
    "V2gTelemetryNotStored": (
        {"v2g_telemetry_deliveries_failed_total": "0+1x30"},
        {"v2g_telemetry_deliveries_failed_total": "7x30"},
    ),
    "V2gVehiclesSilent": (
        {"v2g_telemetry_silent_vehicles": "30x30", "v2g_telemetry_vehicles": "100x30"},
        {"v2g_telemetry_silent_vehicles": "10x30", "v2g_telemetry_vehicles": "100x30"},
    ),
    "V2gSinkFails": (
        {'v2g_telemetry_sink_failing{sink="lake"}': "1x30"},
        {'v2g_telemetry_sink_failing{sink="lake"}': "0x30"},
    ),
    "V2gTelemetryQuarantine": (
        {'v2g_telemetry_records_total{result="quarantined"}': "0x10 5x20"},
        {'v2g_telemetry_records_total{result="stored"}': "0+9x30"},
    ),
    "V2gTelemetryGaps": ({"v2g_telemetry_gaps": "11x120"}, {"v2g_telemetry_gaps": "3x120"}),
    "V2gDiskFull": (
        {"v2g_disk_free_bytes": "9x30", "v2g_disk_size_bytes": "100x30"},
        {"v2g_disk_free_bytes": "11x30", "v2g_disk_size_bytes": "100x30"},
    ),
    "V2gGatewayOutboxFull": (
        {"v2g_gateway_outbox_bytes": "90x30", "v2g_gateway_outbox_capacity_bytes": "100x30"},
        {"v2g_gateway_outbox_bytes": "9x30", "v2g_gateway_outbox_capacity_bytes": "100x30"},
    ),
    "V2gAlertsActive": (
        {'v2g_alerts_active{severity="error"}': "1x120"},
        {'v2g_alerts_active{severity="warning"}': "1x120"},
    ),
    "V2gEmailsWait": ({"v2g_alert_emails_waiting_seconds": "540+60x30"}, {"v2g_alert_emails_waiting_seconds": "30x30"}),
    "V2gStationsLost": ({"v2g_stations_connected": "100x5 70x30"}, {"v2g_stations_connected": "100x5 85x30"}),
    "V2gJournalsQuarantined": ({"v2g_journals_quarantined": "1x30"}, {"v2g_journals_quarantined": "0x30"}),
    "V2gStoreBehind": ({"v2g_store_waiting": "2000x30"}, {"v2g_store_waiting": "900x30"}),
    "V2gSiteOverloaded": (
        {'v2g_site_overload_amperes{site="S"}': "3x30"},
        {'v2g_site_overload_amperes{site="S"}': "0x30"},
    ),
    "V2gGatewayStopped": ({"v2g_gateway_updated_seconds": "0x30"}, {"v2g_gateway_updated_seconds": "0+60x30"}),
}
"""Series that raise an alert, and series that do not; a sample a minute."""


@pytest.mark.long
def test_alerts_are_raised_by_their_faults_and_by_nothing_else(tmp_path: Path) -> None:
    """Judged by Prometheus itself."""
    need("prometheus", program="promtool")
    tests: list[Any] = []
    for alert, (bad, good) in FAULTS.items():
        for series, raised in ((bad, True), (good, False)):
            minutes = 110 if "x120" in next(iter(series.values())) else 25
            question = {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if raised else [],
            }
            inputs = [{"series": name, "values": values} for name, values in series.items()]
            tests.append({"interval": "1m", "input_series": inputs, "promql_expr_test": [question]})
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": [str(FILES / "alerts.yaml")], "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
