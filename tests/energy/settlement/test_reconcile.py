"""What three parties have of one session, beside one another."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.energy.settlement.conftest import Session
from tests.together import together
from v2g.energy.settlement.canonical import canonical
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.reconcile import Figures, compare, figures_of, read_copy, read_vehicle
from v2g.energy.settlement.settle import settle
from v2g.errors import VerificationError


@together(
    ("ours", "theirs", "verdict"),
    [
        (20_000_000, 20_000_000, "equal"),
        (20_000_000, 20_100_000, "within_aim"),
        (20_000_000, 19_900_000, "within_aim"),
        (20_000_000, 20_100_001, "beyond_aim"),
        (20_000_000, 21_000_000, "beyond_aim"),
        (20_000_000, 18_999_999, "alarm"),
        (100_000, 110_000, "within_aim"),  # 10 Wh
        (100_000, 110_001, "alarm"),
        (0, 10_000, "within_aim"),
        (0, 10_001, "alarm"),
    ],
)
def test_a_difference_is_judged_by_the_chargers_figure(ours: int, theirs: int, verdict: str) -> None:
    charger = Figures(source="charger", import_mwh=ours, export_mwh=0)
    taken, fed_back = compare(charger, [Figures(source="vehicle", import_mwh=theirs, export_mwh=0)])
    assert (taken.verdict, fed_back.verdict) == (verdict, "equal")
    assert (taken.direction, fed_back.direction) == ("import", "export")
    expected = None if ours == 0 else pytest.approx(100 * (theirs / ours - 1), abs=0.001)
    assert (None if taken.percent is None else float(taken.percent)) == expected


@given(st.integers(0, 10**12), st.integers(-(10**9), 10**12), st.integers(0, 100), st.integers(0, 100))
def test_a_wider_limit_never_makes_a_verdict_worse(ours: int, theirs: int, one: int, other: int) -> None:
    order = ("equal", "within_aim", "beyond_aim", "alarm")
    charger, vehicle = (Figures(source="x", import_mwh=each, export_mwh=0) for each in (ours, theirs))
    narrow, wide = (
        order.index(compare(charger, [vehicle], aim=Decimal(limit), alarm=Decimal(100))[0].verdict)
        for limit in sorted((one, other))
    )
    assert wide <= narrow


def ended(session_id: str, charged_mwh: int, discharged_mwh: int) -> bytes:
    data = {"session_id": session_id, "charged_mwh": charged_mwh, "discharged_mwh": discharged_mwh, "soc": 1.5}
    return json.dumps({"stage": "session", "name": "ended", "t": 1.0, "data": data}).encode()


def test_parts_of_a_paused_session_add_up_and_others_do_not_count() -> None:
    other = b'{"stage":"loop","name":"flow","data":{"power_w":1}}'
    unplugged = b'{"stage":"session","name":"failed","data":{"reason":"CodecError","error":"x"}}'
    failed = ended("00", 2, 3).replace(b'"ended"', b'"failed"')
    elsewhere = ended("00", 9, 9).replace(b'"session"', b'"loop"', 1)
    going_on = ended("00", 9, 9).replace(b'"ended"', b'"flow"')
    lines = [ended("00", 5, 1), other, ended("11", 7, 7), unplugged, failed, elsewhere, going_on]
    assert read_vehicle(lines, "00", name="log") == Figures(source="vehicle", import_mwh=7, export_mwh=4)
    with pytest.raises(VerificationError, match="log: no end of session 22"):
        read_vehicle(lines, "22", name="log")


def test_an_end_without_a_figure_has_none() -> None:
    line = b'{"stage":"session","name":"ended","data":{"session_id":"00"}}'
    assert read_vehicle([line], "00", name="log") == Figures(source="vehicle", import_mwh=0, export_mwh=0)
    with pytest.raises(VerificationError):
        read_vehicle([b'{"stage":"session","name":"failed","data":{}}'], "?", name="log")


@pytest.mark.parametrize("line", [b"", b"{}", b"\xff", b"[" * 9999, b'{"stage":"session","name":"ended","data":[]}'])
def test_what_is_no_event_is_named_by_its_line(line: bytes) -> None:
    with pytest.raises(VerificationError, match="log:2: no event of a vehicle"):
        read_vehicle([ended("00", 1, 1), line], "00", name="log")


def test_a_copy_is_read_from_an_answer_or_a_file_and_belongs_to_the_session(finished: Session) -> None:
    settlement = settle(verify_lines(finished.journal))
    bare = canonical(settlement)
    answer = msgspec.json.encode({"station_id": "CS", "computed_ms": 1, "document": settlement})
    for data in (bare, answer):
        assert read_copy(data, settlement, name="copy") == settlement
    begin = replace(settlement.begin, import_mwh=1_000, export_mwh=200)
    end = replace(settlement.end, import_mwh=4_000, export_mwh=700)
    of_registers = figures_of(replace(settlement, begin=begin, end=end), "csms")
    assert of_registers == Figures(source="csms", import_mwh=3_000, export_mwh=500)
    with pytest.raises(VerificationError, match="copy: session 0011223344556677 of CS-V2G-0001, the bundle has ff"):
        read_copy(bare, replace(settlement, session_id="ff"), name="copy")
    for data in (b"", b"[]", b"{}", b"\xff", b"[" * 9999):
        with pytest.raises(VerificationError, match="copy: no settlement"):
            read_copy(data, settlement, name="copy")
