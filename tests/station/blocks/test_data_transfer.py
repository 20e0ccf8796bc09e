"""Functional block P, data transfer, of our station, beyond the cases of the test lab."""

import json
from typing import Any

import msgspec
import pytest

from tests.station.bench import Bench, Refused
from v2g.ocpp.messages.data_transfer import VENDOR
from v2g.ocpp.routes import Version
from v2g_station.blocks.data_transfer import GridSignalReceived

Payload = dict[str, Any]

PRICES = {
    "version": 3, "issued_at_ms": 0, "source": "dso", "currency": "EUR",
    "slots": [{"start_ms": 0, "duration_s": 60, "import_price": 1, "export_compensation": 2}],
}  # fmt: skip
EXPORT = {**PRICES, "export_limit_w": 4, "valid_until_ms": 9}


@pytest.mark.parametrize(("version", "good", "bad"), [("2.1", PRICES, EXPORT), ("2.0.1", EXPORT, PRICES)])
def test_a_grid_signal_has_no_limit_that_a_profile_carries(version: Version, good: Payload, bad: Payload) -> None:
    """In 2.1 all limits are in profiles; those of 2.0.1 have no word for what may flow back."""
    for data in (good, json.dumps(good)):
        found = Bench(version)
        assert found.ask("DataTransfer", vendorId=VENDOR, messageId="GridSignal", data=data)["status"] == "Accepted"
        (command,) = [each for each in found.commands if isinstance(each, GridSignalReceived)]
        assert msgspec.to_builtins(command.signal) == {**good, "slots": tuple(good["slots"])}
    limit = {**EXPORT, "site_import_limit_w": 5}
    for wrong in (5, [], "text", {**good, "slots": {}}, {**good, "more": 1}, bad, limit):
        found = Bench(version)
        found.commands.clear()
        assert found.ask("DataTransfer", vendorId=VENDOR, messageId="GridSignal", data=wrong)["status"] == "Rejected"
        assert found.commands == []


def test_what_a_station_does_not_know_is_not_implemented() -> None:
    with pytest.raises(Refused) as refused:
        Bench().ask("MakeCoffee")
    assert refused.value.code == "NotImplemented"
