"""What is typed into `v2g terminal-sim`."""

import pytest

from v2g.errors import ConfigError
from v2g.hardware.zvt import commands as zvt
from v2g.hardware.zvt.commands import ZvtCommand
from v2g.io.hardware.zvt_terminal import ZvtSimulator
from v2g_cli.simulators import obey_terminal


async def test_cards_are_held_there_when_one_is_wanted() -> None:
    simulator = ZvtSimulator()
    assert "no card" in obey_terminal(simulator, "card 4771")
    terminal = simulator.terminal
    terminal.registered = True
    for word in ("card", "bad"):
        terminal.receive(ZvtCommand(zvt.RESERVATION, zvt.field(zvt.AMOUNT, zvt.bcd(5_000, 6))).encode())
        assert obey_terminal(simulator, f"{word} 4771") == ""
        for _ in range(5):
            terminal.receive(ZvtCommand(zvt.ACK).encode())
    assert obey_terminal(simulator, "show") == "0001 reserved 5000 0\n"
    assert obey_terminal(simulator, "") == ""


@pytest.mark.parametrize("line", ["pay", "card", "card 47", "card abcd", "card ١٢٣٤"])
async def test_what_is_no_command_is_said_so(line: str) -> None:
    simulator = ZvtSimulator()
    simulator.terminal.waits_for_card = True
    with pytest.raises(ConfigError):
        obey_terminal(simulator, line)
