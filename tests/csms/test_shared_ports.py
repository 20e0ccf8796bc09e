"""Nodes of one machine that listen at the same ports."""

from pathlib import Path
from typing import Any

import pytest

from csms.config import look
from pki_tools.tree import PkiTree
from tests.csms.databases import Databases
from tests.csms.program import Program, write_config
from tests.csms.support import make_config


@pytest.mark.long
@pytest.mark.e2e
async def test_either_of_two_nodes_answers_at_the_same_ports(
    tmp_path: Path, pki: PkiTree, postgresql_databases: Databases, redis_url: str
) -> None:
    key = tmp_path / "store.key"
    key.touch(mode=0o600)
    key.write_text("ab" * 32)
    shared: dict[str, Any] = {
        "store_url": postgresql_databases.create(), "bus_url": redis_url, "bus_without_password": True,
        "store_key": key, "shared_ports": True,
    }  # fmt: skip

    async def start(name: str, ports: dict[str, int]) -> Program:
        changes: dict[str, Any] = {section: {"port": port} for section, port in ports.items()}
        config = make_config(tmp_path / name, pki, node=name, **shared, **changes)
        return await Program.start(write_config(tmp_path / f"{name}.yaml", config), tmp_path / f"{name}.events", pki)

    async def answers(node: Program) -> None:
        assert (await node.request("GET", "/stations"))[0] == 200
        async with node.connect() as station:
            assert station.subprotocol == "ocpp2.1"

    north = await start("north", {})
    south = await start("south", north.ports)
    assert south.ports == north.ports
    await north.kill()
    await answers(south)
    north = await start("north", south.ports)
    await south.kill()
    await answers(north)
    assert await north.stop() == 0


def test_ports_are_shared_only_by_nodes_of_one_back_end(tmp_path: Path, pki: PkiTree) -> None:
    ((place, _, hint),) = look(make_config(tmp_path, pki, shared_ports=True))
    assert place == ("shared_ports",)
    assert "bus_url" in hint
