"""Partners' commands in a cluster: each is carried out once, and no living node loses its own to another one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csms.cluster.bus import LocalBus, LocalHub
from csms.config import StationEntry
from csms.roaming.commands import resume_commands
from pki_tools.tree import PkiTree
from tests.csms.backend import running_backend
from tests.csms.roaming.peers import LOCATION
from tests.csms.roaming.registered import UID, operating
from tests.csms.roaming.scripted_partner import ScriptedPartner
from tests.csms.support import make_config
from v2g.pki import password_hash as passwords

pytestmark = pytest.mark.requirement("R202")


def node(folder: Path, pki: PkiTree, database: Path, bus: LocalBus, now_ms: int) -> Callable[..., Any]:
    """Return what runs a node of the cluster."""
    return lambda **changes: running_backend(
        make_config(folder, pki, stations=(StationEntry(id="CS-V2G-0001"),), **changes), database, now_ms, bus
    )


async def test_a_starting_node_takes_only_the_commands_of_nodes_that_have_stopped(
    tmp_path: Path, pki: PkiTree, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_COST", 16)
    hub, now_ms = LocalHub(), 1_790_000_000_000
    first, second = LocalBus("one", hub), LocalBus("two", hub)
    with ScriptedPartner().running() as partner:
        async with operating(node(tmp_path, pki, empty_database, first, now_ms), partner) as one:
            await one.register()
            await one.ask("PUT", "/roaming/locations/Depot", LOCATION)
            station = await one.backend.booted()
            where = {"response_url": f"{partner.url}/commands/result", "location_id": "Depot", "evse_uid": UID}
            for _ in range(2):
                await one.ocpi("POST", "/cpo/2.2.1/commands/UNLOCK_CONNECTOR", {**where, "connector_id": "1"})
            asked = await station.expect("UnlockConnector")
            async with running_backend(one.backend.services.config, empty_database, now_ms, second) as two:
                await resume_commands(two.services)
                asked.reply({"status": "Unlocked"})
                (await station.expect("UnlockConnector")).reply({"status": "Unlocked"})
                results = [await partner.sent("POST", "/commands/result", each) for each in (1, 2)]
                assert results == [{"result": "ACCEPTED"}] * 2
                await one.ocpi("POST", "/cpo/2.2.1/commands/UNLOCK_CONNECTOR", {**where, "connector_id": "1"})
                await station.expect("UnlockConnector")  # is never answered: the node stops
                await first.close()
                for _ in range(2):
                    await resume_commands(two.services)
                assert await partner.sent("POST", "/commands/result", 3) == {"result": "TIMEOUT"}
            assert len(station.payloads("UnlockConnector")) == 3
            sent = [path for method, path, _ in partner.bodies if (method, path) == ("POST", "/commands/result")]
            assert len(sent) == 3
