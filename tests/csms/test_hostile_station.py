"""A station that sends what the schemas allow at their edges: every request is answered, and none is a failure."""

import random
from pathlib import Path

import pytest

from pki_tools.tree import PkiTree
from tests.csms.backend import running_backend
from tests.csms.scripted_station import Refused
from tests.csms.support import make_config
from tests.fuzz.ocpp import is_handled, request, requests
from tests.station.bench import START_MS
from v2g.ocpp.routes import UNCONFIRMED, Version

REQUESTS = 400


@pytest.mark.some(1)
@pytest.mark.requirement("R153")
@pytest.mark.parametrize("version", ["2.0.1", "2.1"])
async def test_whatever_a_station_sends_has_an_answer(
    version: Version, tmp_path: Path, pki: PkiTree, empty_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(7)
    async with running_backend(make_config(tmp_path, pki), empty_database, START_MS) as backend:
        station = await backend.booted(version=version)
        station.refuses_others = True
        failed = []
        for _ in range(REQUESTS):
            action, payload = request(chance.choice(requests(version)), version, chance)
            if action in UNCONFIRMED or not is_handled(action, payload, version):
                continue
            try:
                await station.call(action, payload)
            except Refused as refused:
                if refused.code == "InternalError":
                    failed.append((action, payload))
        assert not failed
        assert not [each for each in caplog.records if each.exc_info]
