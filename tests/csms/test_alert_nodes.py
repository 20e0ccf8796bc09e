"""Alerts through back ends that are killed: each is announced once by e-mail, and once when it ends."""

import asyncio
import json
import re
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from csms.alerts.config import AlertEmail, AlertsConfig
from csms.alerts.rules import Recipient, RuleChange
from csms.config import CsmsConfig
from pki_tools.tree import PkiTree
from tests.csms.databases import Databases
from tests.csms.mail_server import PASSWORD, MailServer
from tests.csms.program import Program, write_config
from tests.csms.support import STATION, make_config, provide
from v2g.io.runtime.clock import ClockConfig

SCALE = 20.0
"""Back-off of e-mails, and the time until an end is announced, pass so much faster."""


def config_of(folder: Path, pki: PkiTree, mail_port: int, **changes: Any) -> CsmsConfig:
    folder.mkdir(exist_ok=True)
    secret = folder / "mail.password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    email = AlertEmail(
        host="127.0.0.1", port=mail_port, root=pki.path("csms/root.pem"), user="v2g", password_file=secret,
        sender="v2g@example.com", recipients=(Recipient(address="ops@example.com"),), timeout_s=5.0, wait_s=0,
    )  # fmt: skip
    faulted = RuleChange(limit=0, severity="warning")
    quiet = {name: RuleChange(enabled=False) for name in ("node_certificate_expires", "node_gone", "queue_ages")}
    alerts = AlertsConfig(rules={"station_faulted": faulted, **quiet}, poll_interval_s=0.2, email=email)
    return make_config(folder, pki, alerts=alerts, clock=ClockConfig(scale=SCALE), **changes)


async def report(program: Program, status: str) -> None:
    """Let the station boot and report its connector."""
    async with program.connect() as station:
        boot = {"reason": "PowerUp", "chargingStation": {"model": "x", "vendorName": "x"}}
        at = "2026-01-01T00:00:00Z"
        state = {"evseId": 1, "connectorId": 1, "connectorStatus": status, "timestamp": at}
        for action, body in (("BootNotification", boot), ("StatusNotification", state)):
            await station.send(json.dumps([2, action, action, body]))
            while (answer := json.loads(await station.recv()))[1] != action:
                pass
            assert answer[0] == 3


async def until_active(program: Program, number: int) -> list[dict[str, Any]]:
    while True:
        found: list[dict[str, Any]] = (await program.request("GET", "/alerts?active=true"))[1]
        if len(found) == number:
            return found
        await asyncio.sleep(0.02)


async def follow(programs: list[Program], again: Any, server: MailServer, pki: PkiTree) -> list[EmailMessage]:
    """A connector is faulted while no mail server answers; the node is killed; then it is available again."""
    first = programs[0]
    await report(first, "Faulted")
    (alert,) = await until_active(first, 1)
    assert (alert["kind"], alert["subject"]) == ("station_faulted", STATION)
    await asyncio.wait_for(first.event("email_failed"), 20)
    await first.kill()
    async with server.running(pki, port=server.port):
        after = await again()
        mails = [await asyncio.wait_for(server.taken.get(), 60)]
        await report(after, "Available")
        mails.append(await asyncio.wait_for(server.taken.get(), 60))
        assert await until_active(after, 0) == []
        (ended,) = (await after.request("GET", "/alerts"))[1]
        assert (ended["alert_id"], ended["count"], ended["announced"]) == (alert["alert_id"], 1, "cleared")
        assert server.taken.empty()
    return mails


def subjects(mails: list[EmailMessage]) -> list[str]:
    return [re.sub(r"(?<=for )\d+ \w+\Z", "", str(each["Subject"]).strip()) for each in mails]


EXPECTED = [f"[V2G] {what}: A connector of {STATION} has been faulted for " for what in ("Warning", "Ended")]


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R125")
async def test_a_back_end_that_is_killed_announces_each_alert_once(
    tmp_path: Path, pki: PkiTree, empty_database: Path, unused_tcp_port: int
) -> None:
    server = MailServer()
    server.port = unused_tcp_port
    given = config_of(tmp_path, pki, server.port)
    provide(empty_database, given)
    config = write_config(tmp_path / "csms.yaml", given)
    running = [await Program.start(config, tmp_path / "events", pki)]

    async def again() -> Program:
        running.append(await Program.start(config, tmp_path / "events", pki))
        return running[-1]

    assert subjects(await follow(running, again, server, pki)) == EXPECTED
    await running[-1].stop()


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.requirement("R125")
async def test_another_node_announces_what_a_killed_one_had_found(
    tmp_path: Path, pki: PkiTree, postgresql_databases: Databases, redis_url: str, unused_tcp_port: int
) -> None:
    server = MailServer()
    server.port = unused_tcp_port
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    more: dict[str, Any] = {
        "store_url": postgresql_databases.create(), "bus_url": redis_url, "bus_without_password": True,
        "store_key": key,
    }  # fmt: skip
    nodes: list[Program] = []
    for name in ("a", "b"):
        given = config_of(tmp_path / name, pki, server.port, node=name, **more)
        nodes.append(
            await Program.start(write_config(tmp_path / f"{name}.yaml", given), tmp_path / f"{name}.events", pki)
        )

    async def again() -> Program:
        return nodes[1]

    assert subjects(await follow(nodes, again, server, pki)) == EXPECTED
    await nodes[1].stop()
