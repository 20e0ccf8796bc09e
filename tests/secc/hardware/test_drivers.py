"""Drivers that other distributions install: how a configuration finds them, and what it says about faulty ones."""

import asyncio
import contextlib
import inspect
from pathlib import Path

import msgspec
import pytest

from secc.config import ProgramConfig, load_config, look
from secc.hardware import drivers
from secc.hardware.drivers import find, installed, opened
from secc.hardware.parts import settings_of
from tests.driver_packages import install
from tests.secc_toml import SECC
from v2g.config import faults
from v2g.errors import ConfigError, TransportError
from v2g.hardware.interfaces import StageParts
from v2g.io.hardware.driver import DriverContext
from v2g.io.runtime.clock import Clock

SOURCE = """
import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
import msgspec
from v2g.errors import TransportError
from v2g.hardware.interfaces import StageParts
from v2g.io.hardware.driver import Driver

class AcmeConfig(msgspec.Struct, frozen=True):
    device: str
    limits: Path = Path("none")
    mode: Literal["a", "b"] = "a"
    min_v: int = 0
    max_v: int = 1000

released = []

@asynccontextmanager
async def opens(config, context):
    if config.device == "hangs":
        await asyncio.sleep(1000)
    if config.device == "raises":
        1 / 0
    if config.device == "missing":
        raise TransportError("no such port")
    yield config if config.device == "another part" else StageParts(config.device, None)
    released.append(config.device)
    if config.device == "raises at the end":
        1 / 0
    if config.device == "hangs at the end":
        await asyncio.sleep(1000)

STAGE = Driver("stage", AcmeConfig, opens)
METER = Driver("meter", AcmeConfig, opens)
BOTH = (STAGE, METER)
NEITHER = "something else"
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with drivers of every quality."""
    name = f"acme_{tmp_path.name.replace('-', '_')}"  # a module is imported once in a process
    names = {"acme": "STAGE", "acme-meter": "METER", "acme-all": "BOTH", "text": "NEITHER", "gone": "NO_SUCH"}
    entries = {each: f"{name}:{attribute}" for each, attribute in names.items()}
    entries |= {"broken": f"{name}_broken:DRIVER", "can": f"{name}:STAGE"}
    install(tmp_path / "site", monkeypatch, entries, {name: SOURCE, f"{name}_broken": "import no_such_library"})
    return tmp_path


def told(text: str, folder: Path) -> list[tuple[str, str]]:
    """Return the errors of a configuration with this addition, without name and line, and their hints."""
    found = faults(SECC + text, ProgramConfig, name=str(folder / "secc.toml"), look=look)
    return [(str(each).split(": ", 1)[1], each.hint) for each in found]


def test_a_driver_is_found_by_its_name_and_kind(acme: Path) -> None:
    assert find("stage", "acme").kind == "stage"
    assert find("meter", "acme-all").kind == "meter"
    assert find("stage", "acme-all").kind == "stage"


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ('stage = "acne"', "stage: no driver 'acne' is installed", "installed: acme, acme-all, can"),
        ('stage = "acme-meter"', "stage: 'acme-meter' of acme 1.2 is a driver for 'meter'", ""),
        ('stage = "text"', "stage: 'text' of acme 1.2 is not a driver", ""),
        ('stage = "gone"', "stage: 'gone' of acme 1.2 cannot be imported: AttributeError", ""),
        ('stage = "broken"', "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'", ""),
        ('stage = "acme"', "drivers.acme: the key device is missing", ""),
        ('stage = "acme"\ndrivers.acme.device = 5', "drivers.acme.device: must be text", ""),
        ('stage = "acme"\ndrivers.acme = {device = "d", devise = 1}', "unknown key 'hardware.drivers.acme.d", "device"),
        ('stage = "acme"\ndrivers.acme = {device = "d", mode = "c"}', "drivers.acme.mode: 'c' is not", "one of a, b"),
        ('stage = "acme"\ndrivers.acme = {device = "d", min_v = 1001}', "drivers.acme.min_v: is above max_v", ""),
        ('drivers.acme.device = "d"', "drivers.acme: is ignored", 'pilot, stage, meter = "acme" would use it'),
        ('drivers.board.device = "d"', "drivers.board: is ignored", ""),
        ('pilot = "board"', "hardware.board: is missing", 'pilot = "board" needs it'),
        ("drivers.acme = 5", "hardware.drivers: Expected a table", ""),
    ],
)
def test_a_configuration_is_checked_with_its_drivers(acme: Path, text: str, error: str, hint: str) -> None:
    (found,) = told(f"[hardware]\n{text}\n", acme)
    assert error in found[0]
    assert hint in found[1]


STATION = """[station]
url = "ws://127.0.0.1:9000"
identity = "CS1"
store = "station.db"
"""


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ("[[station.card_readers]]", "station.card_readers.settings: the key device is missing", ""),
        (
            '[[station.card_readers]]\nsettings = {device = "d", away = 1}',
            "unknown key 'station.card_readers.settings.away'",
            "away_s",
        ),
        ('[[station.card_readers]]\ndriver = "acne"', "card_readers.driver: no driver 'acne'", "installed: pn532"),
        ('[station.display]\ndriver = "acme"', "display.driver: 'acme' of acme 1.2 is a driver for 'stage'", ""),
        ('[station.display]\nsettings = {device = "d"}', "station.display.settings: is ignored", "set driver"),
    ],
)
def test_readers_and_displays_are_checked_with_their_drivers(acme: Path, text: str, error: str, hint: str) -> None:
    (found,) = told(STATION + text + "\n", acme)
    assert error in found[0]
    assert hint in found[1]


def test_a_right_configuration_of_a_driver_has_no_errors(acme: Path) -> None:
    assert told('[hardware]\nstage = "acme"\n[hardware.drivers.acme]\ndevice = "/dev/ttyUSB0"\n', acme) == []
    table = 'hardware.stage = "acme"\nhardware.drivers.acme = {device = "d", devise = 1}\n'
    assert len(told(f'[[evses]]\nevse_id = "DE*V2G*E1"\n{table}', acme)) == 1


def test_two_distributions_with_one_name_are_named(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(acme / "other", monkeypatch, {"acme": f"acme_{acme.name.replace('-', '_')}:STAGE"}, {}, name="other")
    with pytest.raises(ConfigError, match=r"driver 'acme' is installed by other and by acme"):
        find("stage", "acme")


def test_all_are_listed_with_what_is_wrong(acme: Path) -> None:
    listed = {(each.kind, each.name): each for each in installed()}
    assert listed["stage", "acme"].distribution == "acme"
    assert listed["stage", "acme"].version == "1.2"
    assert listed["stage", "can"].distribution == "v2g-engine"
    assert "never used" in listed[None, "can"].error  # that of acme
    assert "no_such_library" in listed[None, "broken"].error


def test_paths_of_a_driver_are_relative_to_the_file(acme: Path) -> None:
    text = SECC + '[hardware]\nstage = "acme"\ndrivers.acme = {device = "d", limits = "a.csv"}\n'
    loaded = load_config(text, name=str(acme / "secc.toml"))
    settings = settings_of(loaded.hardware, "stage")
    assert msgspec.structs.asdict(settings)["limits"] == acme / "a.csv"


async def enter(device: str) -> object:
    driver = find("stage", "acme")
    async with opened("stage", "acme", driver.config(device=device), DriverContext(clock=Clock())) as part:
        return part


async def test_a_driver_that_fails_at_the_start_is_named(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "OPEN_S", 0.01)
    monkeypatch.setattr(drivers, "CLOSE_S", 0.01)
    for device, said in (
        ("hangs", "has not opened its part within 0.01 s"),
        ("raises", "ZeroDivisionError"),
        ("missing", "no such port"),
        ("another part", "has opened AcmeConfig, not StageParts"),
    ):
        with pytest.raises(TransportError, match=said):
            await enter(device)
    for device in ("works", "raises at the end", "hangs at the end"):
        assert await enter(device) == StageParts(device, None)  # type: ignore[arg-type]


async def test_a_part_is_released_when_the_program_fails_or_is_cancelled(acme: Path) -> None:
    driver = find("stage", "acme")
    released = inspect.unwrap(driver.open).__globals__["released"]

    async def fails(error: BaseException) -> None:
        config = driver.config(device=type(error).__name__)
        async with opened("stage", "acme", config, DriverContext(clock=Clock())):
            raise error

    for error in (ValueError(), asyncio.CancelledError()):
        with contextlib.suppress(ValueError, asyncio.CancelledError):
            await fails(error)
    assert released == ["ValueError", "CancelledError"]
