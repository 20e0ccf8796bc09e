"""Inputs of the monitor on a control board, as lines: what it takes, and what holds where a line is silent."""

import binascii
from typing import Any

import msgspec
import pytest

from tests.together import together
from v2g.errors import FrameError
from v2g.hardware.board import inputs
from v2g.hardware.board.protocol import BoardLine, StatusQuery, decode, encode
from v2g.safety import UNBOUNDED


def read(body: str) -> Any:
    """Return the input of a line that begins with TELL."""
    octets = f"TELL 7 n=1 what={body}".encode()
    line = decode(octets + b"*%04X" % binascii.crc_hqx(octets, 0xFFFF))
    assert line is not None
    assert isinstance(line.message, StatusQuery)
    return line.message.input


LIMIT = inputs.Limit(source="site", charge_w=1, discharge_w=2, from_ms=-3, until_ms=4)


@together(
    ("body", "expected"),
    [
        ("begin", inputs.Begin()),
        ("authorise allowed=1", inputs.Authorise(allowed=True, paused=False)),
        ("authorise allowed=0 paused=1", inputs.Authorise(allowed=False, paused=True)),
        ("forget", inputs.Forget()),
        ("stop", inputs.Stop()),
        ("fault word=estop active=1", inputs.Fault(word="estop", active=True)),
        ("request", inputs.Request(phase=None, power_ms=0, closed_ms=0, ready=None, target_mv=None, notice_ms=None)),
        ("limit source=site charge_w=1 discharge_w=2 from_ms=-3 until_ms=4", LIMIT),
        ("discharge rule=signed", inputs.Discharge(rule="signed")),
        ("drawn power_w=-1 first_ma=1 second_ma=2 third_ma=3", inputs.Drawn(-1, 1, 2, 3)),
    ],
)
def test_a_line_means_no_more_than_it_says(body: str, expected: inputs.Input) -> None:
    """No power, no closed contactor and no pause that nobody has named."""
    assert read(body) == expected
    assert decode(encode(BoardLine(7, StatusQuery(1, expected)))[:-1]) == BoardLine(7, StatusQuery(1, expected))


@pytest.mark.parametrize(
    ("field", "least", "greatest"),
    [
        ("request power_ms", 0, 10**12),
        ("request target_mv", 0, 10**9),
        ("signed power_w=0 until_ms", -(10**12), 10**12),
        ("measured voltage_mv=0 current_ma", -(2**31) + 1, 2**31 - 1),
    ],
)
def test_a_number_beyond_what_the_monitor_in_c_holds_is_refused(field: str, least: int, greatest: int) -> None:
    name = field.split()[-1]
    for value in (least, greatest):
        assert msgspec.structs.asdict(read(f"{field}={value}"))[name] == value
    for value in (least - 1, greatest + 1):
        with pytest.raises(FrameError):
            read(f"{field}={value}")


def test_what_is_unbounded_or_for_ever_on_the_wire_is_so_for_both_monitors() -> None:
    assert inputs.UNBOUNDED == UNBOUNDED
    assert read(f"request power_ms={10**12}").power_ms == inputs.FOREVER_MS


@together(
    "currents", [(None, None, None), (1, None, None), (None, 2, None), (None, None, 3), (1, 2, None), (1, None, 3),
                 (None, 2, 3), (1, 2, 3)]
)  # fmt: skip
def test_currents_of_conductors_count_together(currents: tuple[int | None, ...]) -> None:
    assert inputs.Drawn(0, *currents).line_ma == (None if None in currents else currents)
