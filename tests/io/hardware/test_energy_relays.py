"""Contacts of a control box, with lines of a test in place of GPIO (R206)."""

import pytest

from tests.waiting import until
from v2g.errors import TransportError
from v2g.hardware.energy_manager.commands import EnergyCommand
from v2g.io.hardware import energy_relays
from v2g.io.hardware.energy_config import EnergyRelaysConfig
from v2g.io.hardware.energy_relays import RelayEnergyManager, relay_command
from v2g.io.hardware.gpio import GpioLine

CONFIG = EnergyRelaysConfig(
    dim=GpioLine(line=4), no_feed_in=GpioLine(line=3), feed_in_30=GpioLine(line=2), feed_in_60=GpioLine(line=1),
    installed_w=10_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("active", "limit_w", "discharge_w"),
    [
        ((), None, None),
        (("dim",), 4200, None),
        (("no_feed_in",), None, 0),
        (("feed_in_60",), None, 6000),
        (("feed_in_60", "feed_in_30", "dim"), 4200, 3000),
    ],
)
def test_contacts_command_the_lowest_limit(
    active: tuple[str, ...], limit_w: int | None, discharge_w: int | None
) -> None:
    found = relay_command(CONFIG, dict.fromkeys(active, True))
    critical = True if active else None
    assert found == EnergyCommand(limit_w=limit_w, discharge_w=discharge_w, grid_critical=critical)


class Lines:
    """Lines that show one reading after the other, and then the last."""

    def __init__(self, readings: list[bool | None]) -> None:
        self.readings = readings
        self.closed = False

    def read(self) -> dict[str, bool]:
        now = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        if now is None:
            raise TransportError("gone")
        return {"dim": now}

    def write(self, name: str, *, active: bool) -> None:
        raise AssertionError(name)

    def close(self) -> None:
        self.closed = True


async def test_a_contact_counts_when_it_is_at_rest_and_lost_lines_are_named_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(energy_relays, "POLL_S", 0.001)
    lines, commands, refused = (
        Lines([False, True, False, False, None, None, True, True]),
        list[float | None](),
        list[str](),
    )
    link = RelayEnergyManager(
        CONFIG, lambda _, word: commands.append(word.limit_w), refused.append, open_lines=lambda _: lines
    )
    await link.open()
    await until(lambda: len(commands) >= 2)
    await link.close()
    assert (commands[:2], refused, lines.closed) == ([None, 4200], ["gone"], True)


def test_relays_need_a_line() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EnergyRelaysConfig()
