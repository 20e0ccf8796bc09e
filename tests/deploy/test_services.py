"""The service units: valid, confined, and restarting what was killed or hangs."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.service import UNITS, Service, running, settings
from tests.packages import need
from v2g.io.ota.installer import RaucConfig
from v2g_cli import init

DEPLOY = UNITS.parent
PROGRAMS = {"v2g-secc": "secc", "v2g-csms": "csms", "v2g-telemetry": "v2g_gateway"}


def output(*command: str | Path, **environment: str) -> str:
    """Return what a command writes; it must succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system with the units, and with something in place of what they start."""
    shutil.copytree(UNITS, tmp_path / "usr/lib/systemd/system")
    for program in ("usr/bin/v2g", "bin/kill"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).touch(mode=0o755)
    return tmp_path


@pytest.mark.requirement("R155")
def test_systemd_accepts_the_units(root: Path) -> None:
    need("systemd", program="systemd-analyze")
    target = root / "usr/lib/systemd/system"
    for name in ("basic.target", "multi-user.target", "sysinit.target", "network.target", "shutdown.target"):
        (target / name).write_text(f"[Unit]\nDescription={name}\n")
    units = [f"{unit}.service" for unit in PROGRAMS]
    assert output("systemd-analyze", "verify", f"--root={root}", "--man=no", *units) == ""
    for unit in PROGRAMS:
        assert settings(unit)["WantedBy"] == ["multi-user.target"]


@pytest.mark.requirement("R149")
@pytest.mark.parametrize(("unit", "most"), [("v2g-secc", 25), ("v2g-csms", 16), ("v2g-telemetry", 21)])
def test_each_program_is_confined_and_has_its_own_user(root: Path, unit: str, most: int) -> None:
    """`most` is ten times systemd's measure of exposure: 0 is none, 10 is a program without any confinement."""
    need("systemd", program="systemd-analyze")
    output("systemd-analyze", "security", "--offline=true", f"--root={root}", f"--threshold={most}", f"{unit}.service")
    users = (DEPLOY / "sysusers.conf").read_text()
    assert settings(unit)["User"] == [unit]
    assert settings(unit)["LimitCORE"] == ["0"]
    assert f"\nu {unit} " in users


@pytest.mark.requirement("R155")
def test_users_and_folders_are_made(tmp_path: Path) -> None:
    need("systemd", program="systemd-sysusers")
    (tmp_path / "etc").mkdir()
    output("systemd-sysusers", f"--root={tmp_path}", DEPLOY / "sysusers.conf")
    assert {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()} >= set(PROGRAMS)
    output("systemd-tmpfiles", "--create", f"--root={tmp_path}", DEPLOY / "tmpfiles.conf")
    assert (tmp_path / "etc/v2g-engine/certs").is_dir()
    assert (tmp_path / "var/log/v2g-bridge.log").readlink() == Path("v2g-engine/v2g-telemetry/v2g-bridge.log")


@pytest.mark.long
@pytest.mark.requirement("R149", "R184")
@pytest.mark.parametrize("unit", PROGRAMS)
def test_apparmor_accepts_the_profile_of_each_unit(unit: str) -> None:
    """Its state and configuration are its own; the others' are denied, and so is their code to be changed."""
    need("apparmor", program="apparmor_parser")
    profiles = DEPLOY / "apparmor.conf"
    output("apparmor_parser", "--skip-kernel-load", "--skip-cache", profiles)
    assert unit in output("apparmor_parser", "--names", profiles).split()
    (text,) = re.findall(rf"^profile {unit} [^\n]*\{{\n(.*?)^\}}", profiles.read_text(), re.MULTILINE | re.DOTALL)
    rules = [line.strip() for line in text.splitlines()]
    (state,) = settings(unit)["StateDirectory"]
    assert f"owner /var/lib/{state}/** rwkl," in rules
    others = ",".join(each.removeprefix("v2g-") for each in PROGRAMS if each != unit)
    assert f"audit deny /var/lib/v2g-engine/{{{others}}}/** rwklx," in rules
    code = [rule for rule in rules if rule.startswith(("/usr/", "/{usr/,}"))]
    assert code
    assert not [rule for rule in code if "w" in rule.rpartition(" ")[2]]
    assert settings(unit)["AppArmorProfile"] == ["-%N"]


def expressions(rules: list[str]) -> list[re.Pattern[str]]:
    """Return what rules for the execution of files match."""
    paths = [rule.rpartition(" ")[0] for rule in rules if rule.startswith("/") and "ix" in rule.rpartition(" ")[2]]
    plain = (path.replace("{", "(").replace("}", ")").replace(",", "|") for path in paths)
    return [re.compile(path.replace("**", ".*").replace("*", "[^/]*")) for path in plain]


@pytest.mark.some(1)
@pytest.mark.requirement("R149", "R133")
@pytest.mark.parametrize("unit", PROGRAMS)
def test_apparmor_lets_updates_run_rauc_and_what_a_maker_allows(unit: str, tmp_path: Path) -> None:
    """What it may run is little; commands of a maker's own are allowed as the page says."""
    need("apparmor", program="apparmor_parser")
    profiles = DEPLOY / "apparmor.conf"
    (text,) = re.findall(rf"^profile {unit} [^\n]*\{{\n(.*?)^\}}", profiles.read_text(), re.MULTILINE | re.DOTALL)
    may_run = expressions([line.strip().removesuffix(",") for line in text.splitlines()])
    rauc = RaucConfig()
    for program in (rauc.program[0], rauc.restart[0], "python3"):
        assert any(each.fullmatch(f"/usr/bin/{program}") for each in may_run), program
    if unit != "v2g-secc":
        assert not any(each.fullmatch(f"/usr/bin/{shell}") for each in may_run for shell in ("sh", "env", "raucx"))
    page = (DEPLOY.parent / "docs/how-to/run-the-telemetry-gateway.md").read_text()
    (rules,) = re.findall(r"```text\n(/usr/sbin.*?)```", page, re.DOTALL)
    (local := tmp_path / "local").mkdir()
    (local / unit).write_text(rules)
    command = ("apparmor_parser", "--skip-kernel-load", "--skip-cache", "--Include", tmp_path, profiles)
    output(*command)
    (local / unit).write_text("of tomorrow")
    with pytest.raises(AssertionError, match=f"local/{unit}"):
        output(*command)


def test_logrotate_accepts_its_rules() -> None:
    need("logrotate")
    assert "error" not in output("/usr/sbin/logrotate", "--debug", DEPLOY / "logrotate.conf").lower()


@pytest.mark.requirement("R162")
def test_fail2ban_accepts_the_jail(tmp_path: Path) -> None:
    need("fail2ban")
    shutil.copytree("/etc/fail2ban", tmp_path / "fail2ban")
    shutil.copyfile(DEPLOY / "fail2ban.conf", tmp_path / "fail2ban/jail.d/v2g-engine.conf")
    assert "successful" in output("fail2ban-client", "-c", tmp_path / "fail2ban", "-t")
    shown = output("fail2ban-client", "-c", tmp_path / "fail2ban", "-d")
    assert "['set', 'sshd', 'maxretry', 4]" in shown


# -- running them


def here(unit: str, config: Path, events: Path | None = None) -> Callable[[list[str]], list[str]]:
    """Return what starts a unit's program from this checkout, with a configuration of ours."""

    def command(words: list[str]) -> list[str]:
        assert words[:1] == ["/usr/bin/v2g"]
        assert words[2] == "--config"
        last = [] if events is None else ["--events", str(events)]
        return [sys.executable, "-m", PROGRAMS[unit], "--config", str(config), *last]

    return command


@pytest.fixture
def charger(tmp_path: Path) -> Path:
    """The configuration of a charger without back end, as `v2g secc init` writes it."""
    init.secc_init(tmp_path / "charger", csms="", kind="dc", contract="DEV2GC00000001")
    config = tmp_path / "charger" / "secc.toml"
    config.write_text(config.read_text().replace("[sdp]", "[sdp]\nport = 0"))
    return config


@pytest.mark.long
@pytest.mark.requirement("R166")
async def test_a_charger_that_is_killed_or_hangs_runs_again_within_5_s(tmp_path: Path, charger: Path) -> None:
    """The watchdog's time is shorter here than the unit's."""
    events = tmp_path / "events.jsonl"
    service = Service("v2g-secc", tmp_path, here("v2g-secc", charger, events), watchdog_s=4)
    async with running(service):
        service.signal(signal.SIGKILL)
        await service.until_ready(2)
        assert service.ready_at[1] - service.ended_at[0] < 5
        hung_at = asyncio.get_running_loop().time()
        service.signal(signal.SIGSTOP)
        await service.until_ready(3)
        assert service.ended_at[1] - hung_at >= 1
        assert service.ready_at[2] - service.ended_at[1] < 5
    names = [json.loads(line)["name"] for line in events.read_text().splitlines()]
    assert names.count("listens") == 3
    assert not {"session_started", "started", "authorized"} & set(names)  # nothing flows that nobody asked for


@pytest.mark.long
async def test_a_service_says_that_it_stops(tmp_path: Path, charger: Path) -> None:
    service = Service("v2g-secc", tmp_path, here("v2g-secc", charger))
    async with running(service):
        service.signal(signal.SIGTERM)
        await service.until_ready(2)
    assert service.states[0] == "WATCHDOG=1"
    assert "STOPPING=1" in service.states


@pytest.mark.requirement("R166")
async def test_a_back_end_is_ready_and_feeds_its_watchdog(tmp_path: Path) -> None:
    init.csms_init(tmp_path / "csms", host=["localhost"], station="CS-1", contract="DEV2GC00000001", port=9443)
    config = tmp_path / "csms" / "csms.toml"
    text = config.read_text().replace("port = 9443", "port = 0").replace("port = 8443", "port = 0")
    config.write_text(text)
    service = Service("v2g-csms", tmp_path, here("v2g-csms", config), watchdog_s=6)
    async with running(service):
        await service.until("WATCHDOG=1", 3)
    assert len(service.ready_at) == 1


@pytest.mark.requirement("R145")
def test_the_lines_for_an_encrypted_disk_are_what_systemd_reads(tmp_path: Path) -> None:
    """docs/how-to/encrypt-the-disk.md: the key comes from the TPM, and /var is no file system without it."""
    need("systemd", program="systemd-analyze")
    page = (DEPLOY.parent / "docs/how-to/encrypt-the-disk.md").read_text()
    crypttab, fstab = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    (swap,) = re.findall(r"`(swap /dev/.*?)`", page)
    (tmp_path / "crypttab").write_text(f"{crypttab}{swap}\n")
    (tmp_path / "fstab").write_text(fstab)
    (tmp_path / "units").mkdir()
    for name, variable in (("cryptsetup", "SYSTEMD_CRYPTTAB"), ("fstab", "SYSTEMD_FSTAB")):
        generator = Path(f"/usr/lib/systemd/system-generators/systemd-{name}-generator")
        table = tmp_path / variable.removeprefix("SYSTEMD_").lower()
        output(generator, *([tmp_path / "units"] * 3), **{variable: str(table)})
    units = {path.name: path.read_text() for path in (tmp_path / "units").iterdir() if path.is_file()}
    assert "attach 'var' '/dev/mmcblk0p3' 'none' 'tpm2-device=auto,discard'" in units["systemd-cryptsetup@var.service"]
    assert "size=512" in units["systemd-cryptsetup@swap.service"]
    assert "What=/dev/mapper/var\nWhere=/var\n" in units["var.mount"]
    assert (tmp_path / "units/local-fs.target.requires/var.mount").is_symlink()
