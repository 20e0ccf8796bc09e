"""A clean Debian without a first process, and small packages for it."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from deploy.debian import EXTRAS, QUESTION, SCRIPTS
from tests.deploy.machine import PYTHON, SUITE
from tests.deploy.package import ROOT, run
from tests.packages import need

SLOTS: Final = ROOT / "deploy" / "packages.py"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clean Debian with its Python and systemd, and nothing else."""
    if sys.version_info[:2] != PYTHON:
        pytest.skip(f"packages for Debian {SUITE} are built with Python {'.'.join(map(str, PYTHON))}")
    if os.geteuid() != 0:
        pytest.skip("a clean system needs root")
    if importlib.util.find_spec("cyclonedx_py") is None:
        pytest.skip("the extra [release] is not installed: make package installs it")
    need("debootstrap")
    root = tmp_path_factory.mktemp("system") / "root"
    run("debootstrap", "--variant=minbase", "--include=procps,python3,systemd", SUITE, root)
    run("mount", "-t", "proc", "proc", root / "proc")
    run("mount", "-t", "sysfs", "sysfs", root / "sys")
    try:
        yield root
    finally:
        run("umount", "-l", root / "proc", root / "sys")
        shutil.rmtree(root)


SYSTEMCTL = """\
#!/bin/sh
# as one of systemd that runs: units that are active are files
case "$1" in
is-active) if [ -e "/run/active/$2" ]; then echo active; else echo inactive; exit 3; fi ;;
stop) shift; for unit; do rm -f "/run/active/$unit"; done ;;
start) shift; for unit; do [ "$unit" = --no-block ] || touch "/run/active/$unit"; done ;;
esac
"""


def small(folder: Path, name: str, version: str, program: str = "", **scripts: str) -> Path:
    """Return a package with what dpkg runs of ours, one program, and the slots of updates; `scripts` replace ours."""
    root = folder / f"{name}-{version}"
    (control := root / "DEBIAN").mkdir(parents=True)
    (other,) = EXTRAS.keys() - {name}
    head = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b>\nDescription: a\n"
    (control / "control").write_text(f"{head}Conflicts: {other}\nReplaces: {other}\n")
    (control / "templates").write_text(QUESTION)
    for script, text in (SCRIPTS | scripts).items():
        (control / script).write_text(text)
        (control / script).chmod(0o755)
    for path, text in (("usr/bin/v2g", program), ("usr/lib/v2g-engine/packages.py", SLOTS.read_text())):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755)
    for source, target in (("sysusers.conf", "sysusers.d"), ("tmpfiles.conf", "tmpfiles.d")):
        (place := root / "usr/lib" / target).mkdir(parents=True)
        shutil.copyfile(ROOT / "deploy" / source, place / "v2g-engine.conf")
    path = folder / f"{name}_{version}.deb"
    run("dpkg-deb", "--root-owner-group", "--build", root, path)
    return path
