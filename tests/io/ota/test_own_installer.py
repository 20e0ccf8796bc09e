"""Installers that other distributions install: how a configuration finds them, and what becomes of their failures."""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

import csms.config
import evcc.config
import secc.config
import v2g_gateway.config
from csms.config import CsmsConfig
from evcc.config import EvccConfig
from secc.config import ProgramConfig
from tests.driver_packages import install
from tests.gateway.program import CONFIG
from tests.secc_toml import SECC
from v2g.config import Flaw, Table, faults
from v2g.errors import ConfigError, InstallError
from v2g.io.ota.installer import Installer
from v2g.io.ota.opening import InstallerConfig, installer_flaws, open_installer
from v2g_gateway.config import GatewayConfig

pytestmark = pytest.mark.requirement("R133", "R135")

STATION = '[station]\nurl = "ws://127.0.0.1:9000"\nidentity = "CS1"\nstore = "station.db"\n'

SOURCE = """
import asyncio, sys
from pathlib import Path
import msgspec
from v2g.errors import InstallError, TransportError
from v2g.io.ota.opening import OwnInstaller

class Config(msgspec.Struct, frozen=True):
    disk: Path
    does: str = ""

steps = []

class Acme:
    def __init__(self, config):
        if config.does == "not open":
            raise TransportError("no such disk")
        self._config, self._opened = config, len(steps)

    def _answer(self, step, *arguments):
        assert len(steps) == self._opened, "one for each step"
        steps.append((step, *arguments))
        match self._config.does:
            case "raise":
                1 / 0
            case "exit":
                sys.exit("enough")
            case "refuse":
                raise InstallError("not signed by ACME", verification=True)
            case "other types":
                return 7
            case "two names":
                return "left right"
        back = [["acme", "running"], ["acme", "back"]]
        return {"running": "left", "image": self._config.disk, "back": back}.get(step)

    async def _step(self, step, *arguments):
        if self._config.does == "hang":
            await asyncio.sleep(100_000)
        return self._answer(step, *arguments)

    async def running(self):
        return await self._step("running")

    async def install(self, image):
        await self._step("install", image)

    async def activate(self):
        await self._step("activate")

    async def confirm(self):
        await self._step("confirm")

    async def roll_back(self):
        await self._step("roll_back")

    def image(self):
        return self._answer("image")

    def back(self):
        return self._answer("back")

INSTALLER = OwnInstaller(Config, Acme)
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with installers, of which some cannot be used."""
    name = f"acme_{uuid.uuid4().hex}"  # a module is imported once in a process
    entries = {"acme": f"{name}:INSTALLER", "module": name, "broken": f"{name}_broken:INSTALLER"}
    modules = {name: SOURCE, f"{name}_broken": "import no_such_library"}
    install(tmp_path / "site", monkeypatch, entries, modules, group="v2g.installers")
    return tmp_path


def opened(folder: Path, does: str = "") -> Installer:
    settings = Table({"disk": "disk", "does": does}, folder)
    return open_installer(InstallerConfig(installer="acme", settings=settings), restart=lambda: None)


STEPS: dict[str, Callable[[Installer], Coroutine[Any, Any, Any]]] = {
    "running": lambda each: each.running(),
    "install": lambda each: each.install(Path("new")),
    "activate": lambda each: each.activate(),
    "confirm": lambda each: each.confirm(),
    "roll_back": lambda each: each.roll_back(),
}


async def test_each_step_is_that_of_an_installer_that_was_opened_for_it(acme: Path) -> None:
    """With its settings, whose paths are relative to the configuration."""
    found = opened(acme)
    assert [await step(found) for step in STEPS.values()] == ["left", None, None, None, None]
    assert found.image() == acme / "disk"
    assert found.back() == (("acme", "running"), ("acme", "back"))


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("raise", "installer 'acme': ZeroDivisionError: division by zero"),
        ("exit", "installer 'acme': SystemExit: enough"),
        ("not open", "installer 'acme': TransportError: no such disk"),
        ("refuse", "not signed by ACME"),
    ],
)
async def test_whatever_it_raises_is_a_failed_step_and_what_is_no_word_of_its_own_is_logged(
    acme: Path, does: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = opened(acme, does)
    for name, step in STEPS.items():
        with pytest.raises(InstallError) as raised:
            await step(found)
        assert str(raised.value) == (said if does == "refuse" else f"{name}: {said}")
        assert raised.value.verification is (does == "refuse")
    with pytest.raises(InstallError, match=said):
        found.back()
    assert found.image() is None, "then it is updated by whole images"
    logged = [] if does == "refuse" else ["the installer 'acme' has failed"] * (len(STEPS) + 2)
    assert caplog.messages == logged


async def test_what_is_no_answer_to_a_step_is_named(acme: Path) -> None:
    for does in ("two names", "other types"):
        found = opened(acme, does)
        with pytest.raises(InstallError, match="running: installer 'acme' returned no slot name"):
            await found.running()
    with pytest.raises(InstallError, match="back: installer 'acme': ValidationError: Expected `array`, got `int`"):
        found.back()
    assert found.image() is None
    await found.confirm()  # nobody asks for its answer


async def test_a_step_that_hangs_has_failed_after_its_time_limit(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(acme, "hang")
    loop, limits = asyncio.get_running_loop(), list[float | None]()
    timeout = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", lambda seconds: (limits.append(seconds), timeout(0))[1])
    for step in STEPS.values():
        with pytest.raises(InstallError, match="installer 'acme' did not finish in time"):
            await asyncio.wait_for(step(found), 60)
    assert limits == [900.0] * len(STEPS)
    assert loop.is_running()


# -- configurations


def flaws(**config: Any) -> list[Flaw]:
    return list(installer_flaws(InstallerConfig(**config), ("update",)))


@pytest.mark.parametrize(
    ("name", "tree", "flaw"),
    [
        ("acme", {"disk": "d"}, None),
        ("acme", {}, (("update", "settings"), "the key disk is missing", "")),
        ("acme", {"disk": 5}, (("update", "settings", "disk"), "Expected the name of a file", "")),
        ("acme", {"disk": "d", "dose": ""}, (("update", "settings", "dose"), "unknown key", "did you mean 'does'?")),
        ("acne", {}, (("update", "installer"), "no installer 'acne' is installed", "installed: acme, broken, module")),
        ("module", {}, (("update", "installer"), "'module' of acme 1.2 is not an installer: acme_", "")),
        ("broken", {}, (("update", "installer"), "'broken' of acme 1.2 cannot be imported: ModuleNotFoundError", "")),
    ],
)
def test_a_configuration_is_checked_with_its_installer(
    acme: Path, name: str, tree: dict[str, Any], flaw: Flaw | None
) -> None:
    found = flaws(installer=name, settings=Table(tree))
    if flaw is None:
        assert found == []
        return
    ((path, why, hint),) = found
    assert (path, hint) == (flaw[0], flaw[2])
    assert why.startswith(flaw[1]), why
    with pytest.raises(ConfigError):
        open_installer(InstallerConfig(installer=name, settings=Table(tree)), restart=lambda: None)


def test_two_distributions_with_one_name_are_named(acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = min((each.stem for each in (acme / "site").glob("acme_*.py")), key=len)
    install(acme / "other", monkeypatch, {"acme": f"{module}:INSTALLER"}, {}, name="other", group="v2g.installers")
    ((_, why, hint),) = flaws(installer="acme")
    assert (why, hint) == ("installer 'acme' is installed by other and by acme", "uninstall all but one")


def test_settings_without_an_installer_are_named(tmp_path: Path) -> None:
    expected = (("update", "settings"), "is ignored without installer", "set installer")
    assert flaws(slots=tmp_path, settings=Table({})) == [expected]
    assert flaws(slots=tmp_path) == []
    assert list(installer_flaws(None, ())) == []


def test_there_is_one_way(tmp_path: Path) -> None:
    for way in ({}, {"installer": "acme", "slots": "s"}):
        with pytest.raises(msgspec.ValidationError, match="update needs one of rauc, commands, slots and installer"):
            msgspec.convert(way, InstallerConfig, dec_hook=lambda kind, value: kind(value))


def test_without_settings_it_has_none(acme: Path) -> None:
    with pytest.raises(ConfigError, match=r"^installer 'acme': the key disk is missing"):
        open_installer(InstallerConfig(installer="acme"), restart=lambda: None)


def test_without_any_there_is_none_to_name() -> None:
    ((_, why, hint),) = flaws(installer="acme")
    assert (why, hint) == ("no installer 'acme' is installed", "installed: none")


RELEASES = '[{0}]\n{1}[{0}.releases]\nroot = "r"\nurl = "http://h"\nhardware = "h"\n'
TLS = '[tls]\nchain = "c"\nkey = "k"\n'
PROGRAMS: dict[str, tuple[type[msgspec.Struct], Any, str, str]] = {
    "charger": (ProgramConfig, secc.config.look, SECC + STATION, "station.update"),
    "vehicle": (EvccConfig, evcc.config.look, TLS + 'anchors = ["a"]\n', "update"),
    "back end": (
        CsmsConfig,
        csms.config.look,
        'data_dir = "d"\n[ocpp]\nport = 1\n[api]\nport = 2\ncertificate = "c"\nkey = "k"\n[trust]\nroots = ["r"]\n',
        "update",
    ),
    "gateway": (GatewayConfig, v2g_gateway.config.look, CONFIG, "update"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_checks_its_installer(acme: Path, program: str) -> None:
    kind, look, text, table = PROGRAMS[program]
    folder = 'folder = "f"\n' if program == "vehicle" else ""
    for settings, wrong in (("", ["the key disk is missing"]), ('settings.disk = "d"\n', [])):
        update = RELEASES.format(table, f'installer = "acme"\n{settings}{folder}')
        found = faults(text + update, kind, name=str(acme / "c.toml"), look=look)
        assert [str(each).split(": ", 2)[1:] for each in found] == [[f"{table}.settings", each] for each in wrong]
