"""Drivers of a maker on a charger of the Debian package: what is installed, and what is refused."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.csms import run
from v2g.errors import ConfigError
from v2g.extras import DRIVERS, HOME, to_install
from v2g_cli.driver_files import Dropped, install

MODULE: Final = """
import contextlib
import msgspec
from v2g.io.hardware.driver import Driver
class Config(msgspec.Struct): device: str = ""
@contextlib.asynccontextmanager
async def opens(config, context): yield None
DRIVER = Driver("stage", Config, opens)
"""


def wheel(
    folder: Path, *, version: str = "1.0", name: str = "acme_power", tag: str = "py3-none-any", **changes: bytes
) -> Path:
    """Return a wheel with a driver as a build back end makes it; `changes` replace or add files, empty ones go."""
    info = f"{name}-{version}.dist-info"
    files = {
        "acme_stage.py": MODULE.encode(),
        f"{info}/METADATA": f"Name: {name}\nVersion: {version}\nRequires-Dist: msgspec\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\n",
        f"{info}/entry_points.txt": b"[console_scripts]\na = b:c\n\n[v2g.hardware]\nacme = acme_stage:DRIVER\n",
    } | {each.replace("INFO", info): content for each, content in changes.items()}
    files = {each: content for each, content in files.items() if content}
    rows = (
        f"{each},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')},{len(content)}\n"
        for each, content in files.items()
    )
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in files.items():
            archive.writestr(each, content)
        archive.writestr(f"{info}/RECORD", "".join(rows) + f"{info}/RECORD,,\n")
    return path


def listed(folder: Path) -> str:
    """Return what a charger lists that finds drivers in this folder, as the package's path file has it."""
    code = f"import site; site.addsitedir({str(folder)!r}); from v2g_cli.main import main; main()"
    command = [sys.executable, "-c", code, "hardware", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.long
def test_a_wheel_is_installed_and_found(tmp_path: Path) -> None:
    """R66: by the command, into an image; its files are compiled and readable, so nothing is written later."""
    (root := tmp_path / "image").joinpath(HOME.relative_to("/")).mkdir(parents=True)
    code, output, errors = run("hardware", "install", str(wheel(tmp_path)), "--root", str(root))
    assert (code, output, errors) == (0, "acme_power 1.0: acme\n", "")
    folder = root / DRIVERS.relative_to("/")
    before = sorted(folder.rglob("*"))
    assert "acme\tstage\tacme_power 1.0" in listed(folder)
    assert sorted(folder.rglob("*")) == before
    assert any(each.suffix == ".pyc" for each in before)
    assert {each.stat().st_mode & 0o777 for each in before} == {0o755, 0o644}
    assert not [each for each in folder.parent.iterdir() if each != folder]


@pytest.mark.long
def test_a_module_is_installed_under_its_name_or_another(tmp_path: Path) -> None:
    (tmp_path / "own_stage.py").write_text(MODULE)
    folder = tmp_path / "drivers"
    assert install(tmp_path / "own_stage.py", folder) == Dropped("own_stage", "0", ("own_stage",))
    assert install(tmp_path / "own_stage.py", folder, name="own") == Dropped("own_stage", "0", ("own",))
    assert "own\tstage\town_stage 0" in listed(folder)
    assert "own_stage\tstage" not in listed(folder)


def test_drivers_and_installers_of_a_wheel_are_named(tmp_path: Path) -> None:
    entries = b"[v2g.hardware]\nacme = a:DRIVER\n[gui_scripts]\nno = a:b\n[v2g.installers]\nslots = a:INSTALLER\n"
    found = install(wheel(tmp_path, **{"INFO/entry_points.txt": entries}), tmp_path / "drivers")
    assert found.drivers == ("acme", "slots")


@pytest.mark.long
def test_another_version_takes_the_place_of_the_first_and_of_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "own_stage.py").write_text(MODULE)
    folder = tmp_path / "drivers"
    for file in (tmp_path / "own_stage.py", wheel(tmp_path), wheel(tmp_path, version="1.1")):
        install(file, folder)
    found = listed(folder)
    assert "acme_power 1.1" in found
    assert "acme_power 1.0" not in found
    assert "own_stage 0" in found
    with pytest.raises(ConfigError, match="another distribution's file"):
        install(wheel(tmp_path, name="other"), folder)
    assert listed(folder) == found, "a refused file has changed the folder"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"../outside.py": b"x = 1"}, "outside of it"),
        ({"/outside.py": b"x = 1"}, "outside of it"),
        ({"acme_power-1.0.data/scripts/a": b"x"}, "scripts and data|has acme_power-1.0.data"),
        ({"secc/app.py": b"x = 1"}, "module secc, which is one of v2g-engine"),
        ({"INFO/METADATA": b""}, "no METADATA"),
        ({"INFO/METADATA": b"Name: a\nVersion: 1\nRequires-Dist: no-such-package (>=1)\n"}, "no-such-package"),
    ],
)
def test_a_wheel_that_cannot_be_used_is_refused(tmp_path: Path, changes: dict[str, bytes], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        install(wheel(tmp_path, **changes), tmp_path / "drivers")
    assert not (tmp_path / "drivers").exists()
    assert not (tmp_path / "outside.py").exists()


@pytest.mark.parametrize(
    "tag", ["cp39-cp39-linux_x86_64", "py2-none-any", "py3-none-win_amd64", "py3-none-linux_s390x", "any"]
)
def test_a_wheel_of_another_machine_is_refused(tmp_path: Path, tag: str) -> None:
    with pytest.raises(ConfigError, match=r"another Python or machine|no name of a wheel"):
        install(wheel(tmp_path, tag=tag), tmp_path / "drivers")


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"stage"', b'"meter"'))
    with pytest.raises(ConfigError, match=r"Bad CRC|RECORD"):
        install(path, tmp_path / "drivers")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("acme_power-1.0.dist-info/RECORD", "acme_stage.py,sha256=AAAA,5\n")
        archive.writestr("acme_stage.py", MODULE)
    with pytest.raises(ConfigError, match=r"acme_stage.py of .* is not as its RECORD"):
        install(path, tmp_path / "drivers")


@given(st.binary(max_size=300), st.sampled_from(["a-1-py3-none-any.whl", "a.py", "a.txt"]))
def test_arbitrary_files_are_refused_with_a_reason(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError):
        install(folder / name, folder / "drivers")
    assert not (folder / "drivers").exists()


def test_a_folder_that_others_may_change_is_refused(tmp_path: Path) -> None:
    (folder := tmp_path / "drivers").mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError, match="may be changed by others"):
        install(wheel(tmp_path), folder)


def test_without_the_package_pip_is_named(tmp_path: Path) -> None:
    code, _, errors = run("hardware", "install", str(wheel(tmp_path)), "--root", str(tmp_path))
    assert code == 2
    assert "pip install" in errors


@pytest.mark.parametrize(
    ("prefix", "extra", "said"),
    [
        ("/home/a/.venv", "gpio", "pip install 'v2g-engine[gpio]'"),
        (str(HOME), "gpio", "apt install ./v2g-engine_VERSION_ARCHITECTURE.deb"),
        (str(HOME), "csms", "apt install ./v2g-engine-full_VERSION_ARCHITECTURE.deb"),
        (str(HOME), "kafka", "install the wheel, see README"),
    ],
)
def test_a_packaged_program_names_packages(prefix: str, extra: str, said: str) -> None:
    found = to_install(extra, prefix=prefix)
    assert found.endswith(said)
    assert ("pip" in found) is (prefix != str(HOME))
