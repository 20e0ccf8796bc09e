"""What is typed into `v2g board-sim`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from v2g.errors import ConfigError
from v2g.io.runtime.clock import Clock
from v2g.io.simulation.board import BoardSimulator
from v2g_cli.main import app
from v2g_cli.simulators import obey_board


async def test_lines_change_what_is_wired_to_the_board() -> None:
    board = BoardSimulator(Clock())
    for line in ("", "estop on", "weld on", "plug C", "cable 100", "temperature plug 95.5", "silent on"):
        obey_board(board, line)
    inputs = board.firmware.inputs
    assert (inputs.estop, inputs.welded, inputs.resistance_ohm, inputs.proximity_ohm) == (True, True, 882, 100)
    assert dict(inputs.temperatures) == {"board": 35.0, "plug": 95.5}
    assert board.firmware.silent
    for line in ("estop off", "temperature plug off", "plug off", "silent off"):
        obey_board(board, line)
    assert dict(board.firmware.inputs.temperatures)["plug"] is None
    assert board.firmware.inputs.resistance_ohm is None
    board.close()


@pytest.mark.parametrize("place", ["no/folder", "taken"])
async def test_a_path_that_cannot_lead_to_the_board_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("somebody's")
    board = BoardSimulator(Clock())
    with pytest.raises(ConfigError, match=place):
        board.link(tmp_path / place)
    board.close()
    assert (tmp_path / "taken").read_text() == "somebody's"


@pytest.mark.parametrize("line", ["estop", "plug A", "cable many", "temperature plug warm", "temperature nose 3", "x"])
async def test_what_is_no_command_is_named(line: str) -> None:
    board = BoardSimulator(Clock())
    with pytest.raises(ConfigError, match=r"unknown command|not a temperature|no such sensor"):
        obey_board(board, line)
    board.close()


def test_a_file_that_is_no_library_of_the_monitor_is_refused(tmp_path: Path) -> None:
    (tmp_path / "monitor.so").write_text("text")
    result = CliRunner().invoke(app, ["board-sim", "--monitor", str(tmp_path / "monitor.so")])
    assert isinstance(result.exception, ConfigError)
    assert "make board" in (result.exception.hint or "")
