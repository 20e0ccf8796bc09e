"""What a charger installs is enough for everything but the back end, which says what it lacks."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from v2g.extras import EXTRAS

ROOT: Final = Path(__file__).parents[1]
OPTIONAL: Final = {"uvloop"}
"""Packages of extras that a program does without."""

IMPORTED: Final = {
    "can-isotp": "isotp",
    "argon2-cffi": "argon2",
    "async-timeout": "async_timeout",
    "jsonschema-rs": "jsonschema_rs",
    "python-can": "can",
    "scikit-learn": "sklearn",
}
"""Distributions whose import package has another name."""

WITHOUT: Final = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {set(EXTRAS) | OPTIONAL}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hidden())
"""

PLAN: Final = """
    from v2g.energy.dispatch import planner, problem as p
    period = p.Period(start_ms=0, end_ms=1, import_price=0, export_compensation=0)
    car = p.FleetVehicle(id="a", energy_wh=0, capacity_wh=1, target_wh=1, charge_w=1)
    planner.make_plan(p.DispatchProblem(periods=(period,), vehicles=(car,)))
"""


def ran(code: str, *words: str) -> tuple[int, str]:
    """Run code without the packages of any extra; return exit code and standard error."""
    done = subprocess.run([sys.executable, "-c", WITHOUT + code, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_every_package_of_an_extra_is_known_with_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in (
        "accounts",
        "analytics",
        "csms",
        "gateway",
        "gpio",
        "ota",
        "patches",
        "pki",
        "planning",
        "postgres",
        "testkit",
        "verify",
    ):
        named = {Requirement(each).name for each in extras[extra]} - OPTIONAL - {"v2g-engine"}
        named = {IMPORTED.get(each, each) for each in named}
        assert {package for package, its in EXTRAS.items() if its == extra} == named


def test_charger_vehicle_and_tools_need_no_extra() -> None:
    tools = "v2g_cli.main, v2g_cli.conform.command, v2g_cli.station, v2g_cli.settle, pki_tools.tree"
    assert ran(f"import secc.app, evcc.app, v2g_gateway.app, v2g_station.simulator.fleet, {tools}") == (0, "")


@pytest.mark.parametrize(
    "code", ["import runpy; runpy.run_module('csms', run_name='__main__')", "from v2g_cli.main import main; main()"]
)
def test_a_back_end_without_its_extra_says_what_to_install(code: str, tmp_path: Path) -> None:
    config = tmp_path / "csms.toml"
    config.write_text("")
    config.chmod(0o600)
    words = () if "runpy" in code else ("csms",)
    status, said = ran(code, *words, "--config", str(config))
    assert status == 2
    assert "pip install 'v2g-engine[csms]'" in said
    assert "Traceback" not in said


@pytest.mark.some(3)
@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("import v2g.asn1.published", "verify"),
        ("import pki_tools.serve", "pki"),
        ("import v2g_testkit.official_schemas", "testkit"),
        (PLAN, "planning"),
        ("from v2g.energy.dispatch.planner import check_solver; check_solver()", "planning"),
        ("from v2g.hardware.power_modules.bank import load_database; load_database(None)", "gateway"),
        ("import asyncio, v2g.io.can as c; asyncio.run(c.CanPort.opened(c.CanConfig(), print))", "gateway"),
    ],
)
def test_what_an_extra_is_for_names_it_where_it_is_missing(code: str, extra: str) -> None:
    command = f"from v2g_cli import main\ndef command():\n    {code}\nmain.guarded(command)"
    status, said = ran(command)
    assert status == 2
    assert f"pip install 'v2g-engine[{extra}]'" in said
    assert "Traceback" not in said
