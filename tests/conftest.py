"""What tests of several folders need: certificates and a broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo.broker import Broker, find_mosquitto, start_broker
from cli.demo.processes import free_port
from pki_tools.pytest_plugin import pki
from pki_tools.tree import PkiTree

__all__ = ["broker", "pki"]


@pytest.fixture
def broker(pki: PkiTree, tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto of this test's own."""
    program = find_mosquitto()
    if program is None:
        pytest.skip("mosquitto is not installed (Debian package mosquitto)")
    running = start_broker(
        program,
        tmp_path / "broker",
        free_port(),
        ca=pki.path("csms/root.pem"),
        chain=pki.path("csms/broker/chain.pem"),
        key=pki.path("csms/broker/leaf.key"),
    )
    yield running
    running.stop()
