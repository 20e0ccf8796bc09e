"""Certificates of vehicles, and how they and a back end reach a broker."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from csms.telemetry.config import MqttSource
from pki_tools.issuing import CertificateOrder, issue_certificate
from pki_tools.tree import PkiTree
from tests.packages import need
from v2g.io.mqtt.config import MqttConfig
from v2g.pki.profile import Role
from v2g_cli.demo.broker import Broker, find_mosquitto, launch
from v2g_cli.demo.processes import free_port


@contextlib.contextmanager
def plain_broker(folder: Path) -> Iterator[Broker]:
    """Run a mosquitto as it stands in a house: no TLS, whoever comes may speak."""
    program = find_mosquitto()
    if program is None:
        need("mosquitto")
    port = free_port()
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    running = launch(program or "mosquitto", folder, port)
    try:
        yield running
    finally:
        running.stop()


def leaf(pki: PkiTree, common_name: str) -> str:
    """Return the name of the certificate of this common name, issued when it is not there."""
    name = f"csms/{common_name}"
    if not pki.path(f"{name}/chain.pem").exists():
        order = CertificateOrder(role=Role.GATEWAY, name=name, common_name=common_name)
        issue_certificate(pki.directory, order, at=datetime.now(UTC))
    return name


def files(pki: PkiTree, common_name: str) -> dict[str, Any]:
    """Return root, chain and key of a common name; the back end's is in the tree already."""
    name = "csms/ingest" if common_name == "csms-ingest" else leaf(pki, common_name)
    return {
        "ca": pki.path("csms/root.pem"),
        "chain": pki.path(f"{name}/chain.pem"),
        "key": pki.path(f"{name}/leaf.key"),
    }


def access(broker: Broker, pki: PkiTree, common_name: str, **more: Any) -> MqttConfig:
    """Return how a program with the certificate of this common name reaches the broker."""
    return MqttConfig(host="127.0.0.1", port=broker.port, **files(pki, common_name), **more)


def source(broker: Broker, pki: PkiTree, common_name: str = "csms-ingest", **more: Any) -> MqttSource:
    """Return the same for a back end."""
    return MqttSource(host="127.0.0.1", port=broker.port, **files(pki, common_name), **more)


def mosquitto(program: str, broker: Broker, pki: PkiTree, common_name: str) -> list[str]:
    """Return the beginning of the command line of a client that we did not write."""
    need("mosquitto-clients", program=program)
    names = {"--cafile": "ca", "--cert": "chain", "--key": "key"}
    paths = files(pki, common_name)
    options = [part for option, name in names.items() for part in (option, str(paths[name]))]
    return [program, "-V", "5", "-h", "127.0.0.1", "-p", str(broker.port), *options]
