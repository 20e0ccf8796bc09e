"""The first day of three users, and of their services under a booted systemd: `make first-day`.

Each has a Debian of its own that boots, reaches no network, and gets packages and wheel as `make package` builds them.
What they type are the commands of the pages, in order.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.machine import PYTHON, SUITE, booted, debian, said, until
from tests.deploy.package import ROOT, run
from tests.docs.documents import Step, commands, section, steps
from tests.docs.reader import Elsewhere, Reader
from tests.io.ota.maker import Maker
from tests.packages import need

pytestmark = [pytest.mark.long, pytest.mark.hours]

INSTALL: Final = "docs/how-to/install-on-debian.md"

DAYS: Final = {
    "charger-maker": (
        ("README.md",),
        ("docs/tutorials/drive-your-own-power-stage.md",),
        (INSTALL, "Install it", "As services"),
        ("docs/how-to/install-a-driver.md",),
    ),
    "test-lab": (
        ("README.md",),
        ("docs/how-to/test-a-charger-or-vehicle.md",),
        ("docs/how-to/test-a-charging-station.md",),
    ),
    "operator": (
        (INSTALL, "Install it"),
        ("docs/tutorials/first-day-as-an-operator.md",),
        (INSTALL, "A back end", "A charger", "A vehicle"),
        (INSTALL, "As services", "Upgrade and remove"),
    ),
}
"""What each of them reads, in order: a page, or sections of it. Programs that a reading leaves in the foreground end
with it."""


def todo(page: str, *headings: str) -> list[Step]:
    """Return what a reading asks its reader to do. The release of README is made already."""
    text = (ROOT / page).read_text()
    if page == "README.md":
        (block,) = (each for each in re.findall(r"```console\n(.*?)```", text, re.DOTALL) if "make release" in each)
        made, *typed = commands(block, "")
        assert made.text == "make release"
        return [*typed]
    parts = [section(text, heading) for heading in headings] or [text]
    return [step for part in parts for step in steps(part, own_machine=True)]


class Place:
    """A folder with what is installed, and a Debian that is copied for each machine."""

    def __init__(self, folder: Path) -> None:
        self.packages, self.wheels = folder / "packages", folder / "wheels"
        self._folder, self._base = folder, folder / "base"
        debian(self._base)
        run(sys.executable, "-m", "deploy.debian", self.packages, cwd=ROOT)
        (wheel,) = self.packages.glob("*.whl")
        wanted = (f"{wheel}[csms,gateway,testkit]", "setuptools", "wheel")  # the latter two build a maker's wheel
        pip = (sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--only-binary", ":all:")
        run(*pip, "-d", self.wheels, *wanted)

    def machine(self, name: str, *more: str) -> Path:
        """Return the root of another machine, with `more` packages of Debian."""
        root = self._folder / name
        if more:
            debian(root, *more)
        else:
            run("cp", "-a", "--reflink=auto", self._base, root)
        shutil.copytree(self.wheels, root / "srv/wheels")
        (release := root / "root/dist/0.2.0").mkdir(parents=True)
        for each in self.packages.glob("*.whl"):
            shutil.copyfile(each, release / each.name)
        for each in self.packages.glob("*.deb"):
            shutil.copyfile(each, root / "root" / each.name)
        return root


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Packages and wheels, and a Debian that boots."""
    if sys.version_info[:2] != PYTHON:
        pytest.skip(f"packages for Debian {SUITE} are built with Python {'.'.join(map(str, PYTHON))}")
    if os.geteuid() != 0:
        pytest.skip("a machine of its own needs root")
    if importlib.util.find_spec("cyclonedx_py") is None:
        pytest.skip("the extra [release] is not installed: make first-day installs it")
    need("debootstrap", "systemd-container")
    folder = tmp_path_factory.mktemp("days")
    try:
        yield Place(folder)
    finally:
        shutil.rmtree(folder)


PIP: Final = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/srv/wheels"}
"""Where pip finds what it would else get from its index."""


@pytest.mark.requirement("R155")
def test_three_users_get_through_their_first_day(place: Place) -> None:
    """R155: each command of the pages that they read does on their machine what the page says."""
    for user, day in DAYS.items():
        root = place.machine(user)
        with booted(root, PIP) as machine:
            for reading in day:
                reader = Reader(root / "root", machine)
                try:
                    for step in todo(*reading):
                        reader.do(step)
                finally:
                    reader.leave()
        shutil.rmtree(root)


def versioned(package: Path, folder: Path, version: str, program: str = "") -> Path:
    """Return a package as one of another version, perhaps with another program."""
    root, path = folder / version, folder / f"{version}.deb"
    run("dpkg-deb", "--raw-extract", package, root)
    control = root / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*", f"Version: {version}", control.read_text()))
    if program:
        (root / "usr/bin/v2g").write_text(program)
    run("dpkg-deb", "-Znone", "--build", "--root-owner-group", root, path)
    shutil.rmtree(root)
    return path


class Unit:
    """A service of a machine, as its systemd sees it."""

    def __init__(self, machine: Elsewhere, name: str) -> None:
        self._machine, self._name = machine, name

    def show(self, what: str) -> str:
        """Return a property."""
        return said(self._machine, f"systemctl show --value -p {what} {self._name}")

    def restarted(self, how: str, *, times: int) -> None:
        """End the main process by a signal, and wait until another one is ready."""
        before = self.show("MainPID")
        said(self._machine, f"kill -{how} {before}")
        is_so = f"systemctl is-active -q {self._name}"
        until(self._machine, f"[ $(systemctl show --value -p NRestarts {self._name}) = {times} ] && {is_so}")
        assert self.show("MainPID") != before

    def journal(self) -> str:
        """Return what the journal has of it."""
        return said(self._machine, f"journalctl -q --no-pager -u {self._name}")


CONNECTED: Final = (
    "v2g csms --access /etc/v2g-engine/csms-client.toml stations --json | jq -e 'select(.connected)' > /dev/null"
)


@pytest.mark.requirement("R131", "R149", "R155", "R166")
def test_services_live_under_a_systemd_that_booted(place: Place, tmp_path: Path) -> None:
    """R131, R149, R166: a charger at a back end: started, killed, hung, upgraded from 0.1.0, booted again, removed."""
    root = place.machine("services")
    (package,) = place.packages.glob("v2g-engine-full_*.deb")
    shutil.copyfile(versioned(package, tmp_path, "0.1.0"), root / "root/older.deb")
    with booted(root, {}) as machine:
        said(machine, "apt install -y /root/older.deb")
        reader = Reader(root / "root", machine)
        for step in todo(INSTALL, "As services"):
            reader.do(step)
        until(machine, CONNECTED)
        charger, back_end = Unit(machine, "v2g-secc"), Unit(machine, "v2g-csms")
        for unit, watchdog in ((charger, "5s"), (back_end, "30s")):
            assert (unit.show("NotifyAccess"), unit.show("WatchdogUSec")) == ("main", watchdog)
            unit.restarted("KILL", times=1)
            unit.restarted("STOP", times=2)  # it hangs: systemd ends it by SIGABRT, then by SIGKILL
            assert "Watchdog timeout" in unit.journal()
        until(machine, CONNECTED)
        assert said(machine, "stat -c %U /var/lib/v2g-engine/secc") == "v2g-secc"
        before = charger.show("MainPID")
        said(machine, f"apt install -y /root/{package.name}")
        until(machine, "systemctl is-active -q v2g-csms v2g-secc")
        assert charger.show("MainPID") != before
        assert said(machine, "dpkg-query -W -f '${Version}' v2g-engine-full") == "0.2.0"
        until(machine, CONNECTED)
    with booted(root, {}) as machine:  # once more
        until(machine, CONNECTED)
        assert said(machine, "systemctl is-enabled v2g-csms v2g-secc") == "enabled\nenabled"
        said(machine, "DEBIAN_FRONTEND=noninteractive apt purge -y v2g-engine-full")
        assert said(machine, "systemctl is-active v2g-csms v2g-secc", fails=True) == "inactive\ninactive"
        assert not (root / "usr/lib/v2g-engine").exists()
    shutil.rmtree(root)


NODE: Final = """
store_url = "postgresql://v2g-csms@/csms?host=/run/postgresql&port={port}"
bus_url = "redis://localhost:6379/0"
bus_without_password = true
shared_ports = true
node = "{name}"
store_key = "/etc/v2g-engine/store.key"
books_key = "/etc/v2g-engine/books.key"
"""

SHARED_KEYS: Final = (
    "cd /etc/v2g-engine && umask 077 && openssl rand -hex 32 > store.key"
    " && openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out books.key"
    " && chown v2g-csms store.key books.key"
)


@pytest.mark.requirement("R131", "R166")
def test_two_nodes_on_postgresql_and_redis_live_under_systemd(place: Place) -> None:
    """R166: two nodes of a back end share PostgreSQL, Redis and ports; either goes, and a charger stays connected."""
    root = place.machine("nodes", "postgresql", "redis-server")
    (package,) = place.packages.glob("v2g-engine-full_*.deb")
    folder = root / "etc/v2g-engine"
    with booted(root, {}) as machine:
        said(machine, f"apt install -y /root/{package.name}")
        station = "--station CS-V2G-0001"
        said(
            machine,
            f"v2g csms init /etc/v2g-engine --host localhost {station} --contract DEV2GC00000001 --owner v2g-csms",
        )
        said(machine, "sudo -u postgres createuser v2g-csms && sudo -u postgres createdb -O v2g-csms csms")
        said(machine, SHARED_KEYS)
        port = said(machine, "pg_lsclusters --no-header | cut -d' ' -f3")  # another one where 5432 was taken
        given = (folder / "csms.toml").read_text()
        unit = (root / "lib/systemd/system/v2g-csms.service").read_text()
        for name in ("csms", "csms-south"):
            data = re.sub(r"(?m)^data_dir = .*$", f'data_dir = "/var/lib/v2g-engine/{name}"', given)
            (folder / f"{name}.toml").write_text(NODE.format(name=name, port=port) + data)
            said(machine, f"chown v2g-csms /etc/v2g-engine/{name}.toml && chmod 600 /etc/v2g-engine/{name}.toml")
        south = unit.replace("csms.toml", "csms-south.toml").replace("v2g-engine/csms\n", "v2g-engine/csms-south\n")
        (root / "etc/systemd/system/v2g-csms-south.service").write_text(south)
        said(machine, "systemctl daemon-reload && systemctl enable --now v2g-csms v2g-csms-south")
        said(machine, f"v2g secc init /etc/v2g-engine --csms wss://localhost:9443/ocpp {station} --owner v2g-secc")
        said(machine, "systemctl enable --now v2g-secc")
        until(machine, CONNECTED)
        for name in ("v2g-csms", "v2g-csms-south"):
            said(machine, f"systemctl stop {name}")
            until(machine, CONNECTED)
            said(machine, f"systemctl start {name}")
    with booted(root, {}) as machine:  # once more
        until(machine, CONNECTED)
        assert said(machine, "systemctl is-active v2g-csms v2g-csms-south v2g-secc") == "active\nactive\nactive"
    shutil.rmtree(root)


class PowerCutError(Exception):
    """A machine ends at once."""


SLOTS: Final = "/var/lib/v2g-engine/packages"


def runs(number: int, *, confirmed: bool = True) -> str:
    """Return a script that succeeds once release 0.NUMBER.0 runs, confirmed or on trial."""
    state = f"cmp -s {SLOTS}/runs {SLOTS}/active"
    version = "dpkg-query -W -f '${db:Status-Status} ${Version}' v2g-engine-full"
    installed = f"[ \"$({version})\" = 'installed 0.{number}.0' ]"
    return f"{{ {'' if confirmed else '! '}{state} && {installed} && systemctl is-active -q v2g-csms; }}"


@pytest.mark.requirement("R133", "R135", "R139")
def test_a_back_end_updates_itself_by_packages(place: Place, tmp_path: Path) -> None:
    """R133, R135: a release is confirmed, one that does not start goes back, and a power cut in dpkg is overcome."""
    root = place.machine("updates")
    (package,) = place.packages.glob("v2g-engine-full_*.deb")
    (tmp_path / "maker").mkdir()
    maker = Maker(tmp_path / "maker")

    def release(number: int, program: str = "") -> None:
        made = versioned(package, tmp_path, f"0.{number}.0", program)
        maker.release(made.name, number, "dc30", image=made.read_bytes())
        shutil.copytree(maker.repository.folder, root / "srv/releases", dirs_exist_ok=True)

    release(3)
    shutil.copyfile(maker.root, root / "root/1.root.json")
    page = section((ROOT / INSTALL).read_text(), "Update by releases")
    (by_hand,) = re.findall(r"(?m)^\$ slots (init .*)$", page)
    (way,) = re.findall(r"(?s)```toml\n(.*?)```", page)
    where = "http://localhost:8000"
    with contextlib.suppress(PowerCutError), booted(root, {}) as machine:
        said(machine, "systemd-run -q python3 -m http.server --directory /srv/releases 8000")
        said(machine, f"apt install -y /root/{package.name}")
        said(machine, "v2g csms init /etc/v2g-engine --host localhost --station CS-V2G-0001 --owner v2g-csms")
        by_hand = by_hand.replace("https://updates.example/releases", where)
        said(machine, f"cd /root && python3 -I /usr/lib/v2g-engine/packages.py {by_hand} --trial-s 30")
        releases = f'[update.releases]\nroot = "/etc/v2g-engine/root.json"\nurl = "{where}"\nhardware = "dc30"\n'
        shutil.copyfile(maker.root, root / "etc/v2g-engine/root.json")
        (root / "etc/v2g-engine/root.json").chmod(0o644)
        with (root / "etc/v2g-engine/csms.toml").open("a") as config:
            config.write(f'[update]\nwindow = "00:00-00:00"\nevery_s = 1\n{way}{releases}')
        said(machine, "systemctl enable --now v2g-csms")
        until(machine, runs(3))
        release(4, "#!/bin/sh\nexit 1\n")
        until(
            machine,
            f'[ "$(cat {SLOTS}/a.json | jq .facts.number)" = 4 ] && ! cmp -s {SLOTS}/runs {SLOTS}/active',
        )
        until(machine, runs(3))
        release(5)
        until(machine, f"! cmp -s {SLOTS}/runs {SLOTS}/active && pgrep -x dpkg-deb > /dev/null")
        raise PowerCutError
    with booted(root, {}) as machine:
        said(machine, "systemd-run -q python3 -m http.server --directory /srv/releases 8000")
        until(machine, runs(5))
        assert said(machine, "dpkg --audit") == ""
        journal = said(machine, "journalctl -q --no-pager -u v2g-csms")
        assert "Traceback" not in journal
    shutil.rmtree(root)
