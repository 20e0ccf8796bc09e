"""Drivers that other distributions install: how a configuration finds them, and what it says about faulty ones."""

import asyncio
import contextlib
import inspect
import sys
import uuid
from pathlib import Path

import msgspec
import pytest

from secc.config import ProgramConfig, load_config, look
from secc.hardware import simulated_drivers
from secc.hardware.config import settings_of
from secc.hardware.drivers import BUILT_IN, INTERFACES, find, installed, opened, side_opener
from tests.driver_packages import install
from tests.secc.hardware.bare import run
from tests.secc_toml import SECC
from v2g.config import Table, faults
from v2g.errors import ConfigError, TransportError
from v2g.hardware.interfaces import CardReader, DriverDisplay, EmergencyOutput, EnergyMeter, StageParts
from v2g.hardware.power_modules.bank import ModulesConfig
from v2g.io.hardware import board, d0, emergency, line_display, linux_board, modbus, modules, pn532
from v2g.io.hardware.driver import DriverContext
from v2g.io.runtime.clock import Clock

SOURCE = """
import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
import msgspec
from v2g.errors import TransportError
from v2g.hardware.interfaces import CardReader, DriverDisplay, EnergyMeter, StageParts
from v2g.hardware.power_modules.bank import ModulesConfig
from v2g.io.hardware import board, d0, line_display, linux_board, modbus, modules, pn532
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
    if config.device == "library":
        import no_such_library
    yield config if config.device == "another part" else StageParts(config.device, None)
    released.append(config.device)
    if config.device == "raises at the end":
        1 / 0
    if config.device == "hangs at the end":
        await asyncio.sleep(1000)

STAGE = Driver("stage", AcmeConfig, opens)
METER = Driver("meter", AcmeConfig, opens)
BOTH = (STAGE, METER)
SHIP = Driver("spaceship", AcmeConfig, opens)
BOARD = Driver("pilot", AcmeConfig, opens)

class Side:
    def __init__(self, device):
        self.show = self.on_card = self.on_lost = self.refused
        self.device = device

    def refused(self, _):
        raise RuntimeError(self.device)

@asynccontextmanager
async def beside(config, context):
    yield Side(config.device)

SIDES = (Driver("display", AcmeConfig, beside), Driver("card_reader", AcmeConfig, beside))
NEITHER = "something else"
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with drivers of every quality."""
    name = f"acme_{uuid.uuid4().hex}"  # a module is imported once in a process
    names = {
        "acme": "STAGE",
        "acme-meter": "METER",
        "acme-all": "BOTH",
        "text": "NEITHER",
        "ship": "SHIP",
        "sides": "SIDES",
        "board-of-acme": "BOARD",
        "gone": "NO_SUCH",
    }
    entries = {each: f"{name}:{attribute}" for each, attribute in names.items()}
    entries |= {"broken": f"{name}_broken:DRIVER", "can": f"{name}:STAGE"}
    install(tmp_path / "site", monkeypatch, entries, {name: SOURCE, f"{name}_broken": "import no_such_library"})
    return tmp_path


def reported(text: str, folder: Path) -> list[tuple[str, str]]:
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
        ('stage = "ship"', "stage: 'ship' of acme 1.2 is not a driver", ""),
        ('stage = "gone"', "stage: 'gone' of acme 1.2 cannot be imported: AttributeError", ""),
        ('stage = "broken"', "cannot be imported: ModuleNotFoundError: No module named 'no_such_library'", ""),
        ('stage = "acme"', "drivers.acme: the key device is missing", ""),
        ('stage = "acme-all"\nmeter = "acme-all"', "drivers.acme-all: the key device is missing", ""),
        ('stage = "acme"\ndrivers.acme.device = 5', "drivers.acme.device: must be text", ""),
        ('stage = "acme"\ndrivers.acme = {device = "d", devise = 1}', "unknown key 'hardware.drivers.acme.d", "device"),
        ('stage = "acme"\ndrivers.acme = {device = "d", mode = "c"}', "drivers.acme.mode: 'c' is not", "one of a, b"),
        ('stage = "acme"\ndrivers.acme = {device = "d", min_v = 1001}', "drivers.acme.min_v: is above max_v", ""),
        (
            'drivers.acme.device = "d"',
            "drivers.acme: is ignored",
            'stage = "acme" would use it',
        ),
        ('drivers.board.device = "d"', "drivers.board: is ignored", ""),
        ('drivers.pn532.device = "d"', "drivers.pn532: is ignored", "keys of a card_reader are in its settings"),
        ('pilot = "board"', "hardware.board: is missing", 'pilot = "board" needs it'),
        ("drivers.acme = 5", "hardware.drivers: Expected a table", ""),
    ],
)
def test_a_configuration_is_checked_with_its_drivers(acme: Path, text: str, error: str, hint: str) -> None:
    (found,) = reported(f"[hardware]\n{text}\n", acme)
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
    (found,) = reported(STATION + text + "\n", acme)
    assert error in found[0]
    assert hint in found[1]


def test_a_right_configuration_of_a_driver_has_no_errors(acme: Path) -> None:
    assert reported('[hardware]\nstage = "acme"\n[hardware.drivers.acme]\ndevice = "/dev/ttyUSB0"\n', acme) == []
    table = 'hardware.stage = "acme"\nhardware.drivers.acme = {device = "d", devise = 1}\n'
    assert len(reported(f'[[evses]]\nevse_id = "DE*V2G*E1"\n{table}', acme)) == 1


def test_two_distributions_with_one_name_are_named(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = min((each.stem for each in (acme / "site").glob("acme_*.py")), key=len)
    install(acme / "other", monkeypatch, {"acme": f"{module}:STAGE"}, {}, name="other")
    with pytest.raises(ConfigError, match=r"driver 'acme' is installed by other and by acme"):
        find("stage", "acme")


def test_all_are_listed_with_what_is_wrong(acme: Path) -> None:
    listed = {(each.kind, each.name): each for each in installed()}
    assert listed["stage", "acme"].distribution == "acme"
    assert (listed["stage", "acme"].version, listed["stage", "acme"].error) == ("1.2", "")
    assert listed["stage", "can"].distribution == "v2g-engine"
    assert "never used" in listed[None, "can"].error  # that of acme
    assert "no_such_library" in listed[None, "broken"].error


def test_each_of_ours_is_the_driver_of_its_module() -> None:
    ours = {(each.kind, each.name): each for each in installed() if each.distribution == "v2g-engine"}
    assert {where: each.part for where, each in ours.items()} == {
        ("pilot", "simulated"): simulated_drivers.PILOT,
        ("pilot", "board"): board.DRIVER,
        ("pilot", "linux"): linux_board.DRIVER,
        ("stage", "simulated"): simulated_drivers.STAGE,
        ("stage", "can"): modules.DRIVER,
        ("stage", "infypower"): modules.INFYPOWER,
        ("meter", "simulated"): simulated_drivers.METER,
        ("meter", "modbus"): modbus.DRIVER,
        ("meter", "d0"): d0.DRIVER,
        ("emergency", "simulated"): simulated_drivers.EMERGENCY,
        ("emergency", "gpio"): emergency.DRIVER,
        ("card_reader", "pn532"): pn532.DRIVER,
        ("display", "escpos"): line_display.DRIVER,
    }
    assert set(BUILT_IN) == set(ours)
    assert not any(each.error for each in ours.values())
    assert dict(INTERFACES) == {
        "meter": EnergyMeter,
        "emergency": EmergencyOutput,
        "card_reader": CardReader,
        "display": DriverDisplay,
    }


def test_paths_of_a_driver_are_relative_to_the_file(acme: Path) -> None:
    text = SECC + '[hardware]\nstage = "acme"\ndrivers.acme = {device = "d", limits = "a.csv"}\n'
    loaded = load_config(text, name=str(acme / "secc.toml"))
    settings = settings_of(loaded.hardware, "stage")
    assert msgspec.structs.asdict(settings)["limits"] == acme / "a.csv"


async def enter(device: str) -> object:
    driver = find("stage", "acme")
    async with opened("stage", "acme", driver.config(device=device), DriverContext(clock=Clock())) as part:
        return part


def test_a_driver_that_fails_at_the_start_is_named(acme: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A driver has 30 s to open its part, and 5 s to release it."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        for device, seconds, said in (
            ("hangs", 30, "the driver 'acme' of kind stage has not opened its part within 30 s"),
            ("raises", 0, "the driver 'acme' of kind stage failed: ZeroDivisionError: division by zero"),
            ("missing", 0, "^no such port"),
            ("library", 0, "No module named 'no_such_library'"),
            ("another part", 0, "has opened AcmeConfig, not StageParts"),
        ):
            began = loop.time()
            with pytest.raises(TransportError, match=said):
                await enter(device)
            assert round(loop.time() - began, 3) == seconds
        assert "the driver 'acme' of kind stage has failed" in caplog.text
        assert "not closed" not in caplog.text
        for device, seconds in (("works", 0), ("raises at the end", 0), ("hangs at the end", 5)):
            began = loop.time()
            assert await enter(device) == StageParts(device, None)  # type: ignore[arg-type]
            assert round(loop.time() - began, 3) == seconds
        assert caplog.text.count("the driver 'acme' of kind stage has not closed its part") == 2

    run(scenario)


async def test_an_extra_that_a_driver_of_ours_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cantools.database.can", None)
    with pytest.raises(ConfigError, match="needs the package cantools, which is not installed") as caught:
        async with opened("stage", "can", ModulesConfig(interface="virtual"), DriverContext(clock=Clock())):
            """It cannot be opened."""
    assert caught.value.hint == "pip install 'v2g-engine[gateway]'"


async def test_a_part_beside_charging_is_opened_with_its_settings_and_guarded(acme: Path) -> None:
    with pytest.raises(ConfigError, match=r"^driver 'sides': the key device is missing"):
        side_opener("display", "sides", None, DriverContext(clock=Clock()))
    context, table, failures = DriverContext(clock=Clock()), Table({"device": "d"}), list[str]()
    async with side_opener("display", "sides", table, context)(failures.append) as display:
        assert await display.show({}) is None
    async with side_opener("card_reader", "sides", table, context)(failures.append) as reader:
        reader.on_card(lambda *_: None)
    assert failures == ["DriverDisplay.show: RuntimeError: d", "CardReader.on_card: RuntimeError: d"]


async def test_a_board_is_all_of_its_parts(acme: Path) -> None:
    config = find("pilot", "board-of-acme").config(device="d")
    with pytest.raises(TransportError, match="has opened StageParts, not BoardParts"):
        async with opened("pilot", "board-of-acme", config, DriverContext(clock=Clock())):
            """It is not used."""


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
