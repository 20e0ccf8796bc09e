"""`v2g trace` reads a recording of a DIN 70121 session over plain TCP."""

import json
from pathlib import Path

import pytest

from v2g.iso15118.d2.timing import MESSAGES as MESSAGES_2
from v2g.iso15118.trace import Line
from v2g.iso15118.trace_read import Entry, leaves
from v2g_cli.trace.source import read_entries

FOLDER = Path(__file__).parents[1] / "vectors" / "din70121"
RECORDING = "2022-12-13_compleo_with_bulb"


@pytest.fixture(scope="module")
def found() -> list[Entry]:
    return read_entries(FOLDER / f"{RECORDING}.pcapng")


def test_every_message_of_the_connection_is_found_in_order_with_its_time(found: list[Entry]) -> None:
    """Beside the messages that were taken from the same frames by another program."""
    expected = [json.loads(line) for line in (FOLDER / f"{RECORDING}.jsonl").read_text().splitlines()]
    assert [each.line.exi for each in found] == [each["exi_hex"] for each in expected]
    assert [each.speaker for each in found] == [each["sender"] for each in expected]
    for entry, each in zip(found, expected, strict=True):
        assert entry.at_ms == pytest.approx(each["t"] * 1000, abs=0.2)


def test_messages_are_named_and_numbers_are_numbers(found: list[Entry]) -> None:
    names = [each.line.name for each in found]
    assert names[:4] == ["SupportedAppProtocolReq", "SupportedAppProtocolRes", "SessionSetupReq", "SessionSetupRes"]
    assert not [each for each in found if each.line.error]
    assert {each.line.session for each in found[3:]} == {"208d826dfbef942a"}
    (voltage,) = {
        value for each in found if each.line.name == "PreChargeReq"
        for path, value in leaves(each.line.body) if path.endswith("/EVTargetVoltage")
    }  # fmt: skip
    assert voltage == 230


def test_answers_are_late_by_the_times_of_their_edition() -> None:
    def entry(stream: str, name: str, answer_ms: float) -> Entry:
        line = Line(time="", mono_ms=0, run="1", process="secc", way="out", name=name, stream=stream)
        return Entry(number=1, line=line, at_ms=0, answer_ms=answer_ms)

    assert MESSAGES_2["PowerDeliveryReq"].performance == 4.5
    assert not entry("SAP", "PowerDeliveryRes", 2000).late
    assert entry("SAP", "PowerDeliveryRes", 4600).late
    assert entry("COMMON", "PowerDeliveryRes", 2000).late
    assert entry("SAP", "CurrentDemandRes", 26).late
