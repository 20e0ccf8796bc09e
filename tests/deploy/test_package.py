"""The Debian package in a clean system: `make package` builds it, this installs it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.debian import COMMANDS
from tests.deploy.clean_system import SYSTEMCTL, small, system
from tests.deploy.package import ROOT, run
from tests.deploy.service import Service, running
from v2g.pki.keys import save_key

__all__ = ["system"]

pytestmark = [pytest.mark.long, pytest.mark.hours]


@pytest.mark.requirement("R148", "R149", "R155")
async def test_the_package_makes_a_clean_system_a_charger(system: Path, tmp_path: Path) -> None:
    key = tmp_path / "signer.key"
    save_key(key, ec.generate_private_key(ec.SECP256R1()))
    run("openssl", "pkey", "-in", key, "-pubout", "-out", system / "tmp/signer.pem")
    run(sys.executable, "-m", "deploy.debian", tmp_path, "--only", "v2g-engine", "--key", key, cwd=ROOT)
    (package,) = tmp_path.glob("*.deb")
    run(sys.executable, "-m", "deploy.debian", tmp_path / "again", "--only", "v2g-engine", "--key", key, cwd=ROOT)
    content = [("sh", "-c", f"dpkg-deb --fsys-tarfile {path / package.name} | tar -x -O --exclude '*.sig' | sha256sum")
               for path in (tmp_path, tmp_path / "again")]  # fmt: skip
    assert run(*content[0]) == run(*content[1]), "the same commit makes another package"
    shutil.copyfile(package, system / "tmp" / package.name)
    chroot = ("chroot", str(system))
    run("dpkg-deb", "--raw-extract", package, tmp_path / "older")
    control = tmp_path / "older/DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: 0.1.0", control.read_text()))
    run("dpkg-deb", "-Znone", "--build", "--root-owner-group", tmp_path / "older", system / "tmp/older.deb")
    run(*chroot, "dpkg", "--install", "/tmp/older.deb")
    upgrade = run(*chroot, "apt-get", "install", "--simulate", f"/tmp/{package.name}")
    assert re.search(r"(?m)^Inst v2g-engine \[0\.1\.0\] \(", upgrade), upgrade
    run(*chroot, "dpkg", "--install", f"/tmp/{package.name}")
    listed = {each["name"] for each in json.loads((tmp_path / "v2g-engine.cdx.json").read_text())["components"]}
    assert {"cryptography", "msgspec", "websockets", "openssl", "cpython"} <= listed
    assert not {"sqlalchemy", "pytest"} & listed
    for command in COMMANDS:
        run(*chroot, command, "--help")
    manifest = "/usr/share/v2g-engine/manifest.json"
    run(*chroot, "v2g", "attest", "check", manifest, "--public-key", "/tmp/signer.pem")
    run(*chroot, "v2g", "secc", "init", "/etc/v2g-engine", "--csms", "", "--owner", "v2g-secc")
    config = system / "etc/v2g-engine/secc.toml"
    assert config.stat().st_mode & 0o777 == 0o600
    (state := system / "var/lib/v2g-engine/secc").mkdir(parents=True)  # StateDirectory
    shutil.chown(state, *map(int, run(*chroot, "sh", "-c", "id -u v2g-secc; id -g v2g-secc").split()))
    (notify := system / "run/test").mkdir()
    notify.chmod(0o755)

    def as_its_user(words: list[str]) -> list[str]:
        return ["chroot", "--userspec=v2g-secc:v2g-secc", str(system), *words]

    service = Service("v2g-secc", notify, as_its_user, socket_name="/run/test/notify.sock")
    async with running(service):
        assert (state / "registers.json").exists() or any(state.iterdir())
    (system / "tmp/own_stage.py").write_text(OWN_STAGE)
    assert run(*chroot, "v2g", "hardware", "install", "/tmp/own_stage.py", "--name", "own") == "own_stage 0: own\n"
    drivers = run(*chroot, "v2g", "hardware", "list").splitlines()
    assert {"own\tstage\town_stage 0\t", "linux\tpilot\tv2g-engine 0.2.0\t"} <= set(drivers)
    run(*chroot, "/usr/lib/v2g-engine/bin/python", "-I", "-c", "import gpiod")
    attested = (*chroot, "v2g", "attest", "check", manifest, "--public-key", "/tmp/signer.pem")
    found = subprocess.run(attested, capture_output=True, text=True, check=False)
    assert found.returncode != 0
    assert "/usr/lib/v2g-engine/drivers/own_stage.py" in found.stdout + found.stderr
    lacks = subprocess.run((*chroot, "v2g", "csms", "--config", "/x"), capture_output=True, text=True, check=False)
    assert "apt install ./v2g-engine-full_" in lacks.stderr
    unknown = run(*chroot, "dpkg", "--remove", "v2g-engine")
    assert "error" not in unknown.lower()
    assert not (system / "usr/lib/v2g-engine/lib").exists()
    assert config.exists()
    run(*chroot, "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--purge", "v2g-engine")
    assert not (system / "usr/lib/v2g-engine").exists()
    shutil.rmtree(system / "etc/v2g-engine")


OWN_STAGE = """
import contextlib
import msgspec
from v2g.io.hardware.driver import Driver
class Config(msgspec.Struct):
    device: str = ""
@contextlib.asynccontextmanager
async def opens(config, context):
    yield None
DRIVER = Driver("stage", Config, opens)
"""


def test_another_package_keeps_services_and_a_purge_removes_what_was_asked_for(system: Path, tmp_path: Path) -> None:
    """R155: by apt and dpkg of a clean system, which has a systemctl of the test's."""
    chroot = ("chroot", str(system))
    (control := system / "usr/sbin/systemctl").write_text(SYSTEMCTL)
    control.chmod(0o755)
    (system / "run/systemd/system").mkdir(parents=True, exist_ok=True)
    (active := system / "run/active").mkdir()
    wants = system / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    for name, version in (("v2g-engine", "1"), ("v2g-engine", "2"), ("v2g-engine-full", "2")):
        shutil.copyfile(small(tmp_path, name, version), system / "tmp" / f"{name}_{version}.deb")
    install = (*chroot, "apt-get", "install", "--yes", "--no-install-recommends")

    def answer(value: str) -> None:
        """Answer the question of a purge, as somebody does who is asked."""
        asked = f"v2g-engine v2g-engine/remove-data boolean {value}"
        run(*chroot, "sh", "-c", f"echo {asked} | debconf-set-selections")

    run(*install, "/tmp/v2g-engine_1.deb")
    (enabled := wants / "v2g-secc.service").symlink_to("/usr/lib/systemd/system/v2g-secc.service")
    (active / "v2g-secc.service").touch()
    (config := system / "etc/v2g-engine/secc.toml").touch()
    (driver := system / "usr/lib/v2g-engine/drivers/acme.py").parent.mkdir(parents=True)
    driver.touch()
    for package in ("v2g-engine_2", "v2g-engine-full_2", "v2g-engine_1", "v2g-engine-full_2"):
        run(*install, "--allow-downgrades", f"/tmp/{package}.deb")
        assert [each.name for each in active.iterdir()] == ["v2g-secc.service"], package
        assert enabled.is_symlink()
        assert not (system / "run/v2g-engine.stopped").exists()
    run(*chroot, "dpkg", "--purge", "v2g-engine")  # what the other package has left of itself
    assert enabled.is_symlink()
    assert config.exists()
    run(*chroot, "apt-get", "remove", "--yes", "v2g-engine-full")
    assert [*active.iterdir()] == []
    assert config.exists()
    said = run(*chroot, "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--purge", "v2g-engine-full")
    assert "kept /etc/v2g-engine" in said
    assert config.exists()
    assert not enabled.is_symlink()
    assert not driver.exists()
    run(*install, "/tmp/v2g-engine-full_2.deb")
    answer("true")
    run(*chroot, "env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--purge", "v2g-engine-full")
    for path in ("etc/v2g-engine", "var/lib/v2g-engine", "usr/lib/v2g-engine", "var/log/v2g-bridge.log"):
        assert not os.path.lexists(system / path), path
