#!/usr/bin/python3 -I
"""Two files of this project's Debian package as the slots of an update: what `commands` of a program run (R133, R139).

`init` keeps the installed package as slot `a`, and puts a copy of this script with units of its own beside it: like a
boot loader, no release changes them. Both run with the system's Python alone, whatever state the package is in.

A program of the package asks as its own user, over a socket, for `running`, `install`, `activate`, `confirm` and
`roll_back`. Root compares what it is given with the repository of releases itself, so a program that was taken over
installs nothing but releases. `boot` runs at each start, and for `activate` and `roll_back`.

In FOLDER: `a.deb`, `b.deb`, the releases that they are (`a.json`), `active` (the slot to stay with), `runs` (the one
that is installed), `once` (the one to try).
"""

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, NoReturn

FOLDER: Final = Path("/var/lib/v2g-engine/packages")
UNITS: Final = Path("/etc/systemd/system")
SOCKET: Final = "/run/v2g_packages.sock"
LOCK_S: Final = 10.0
BAD_IMAGE: Final = 65
"""Exit code for what is not to be installed (EX_DATAERR)."""
RETRY: Final = ("Restart=on-failure", "RestartSec=10")
DPKG: Final = ("dpkg", "--force-confdef", "--force-confold")
TRIAL: Final = "v2g_packages_trial"

SCRIPT: Final = FOLDER / "packages.py"
_MADE: Final = {
    # not v2g-*: the services' hardening is not for what installs packages
    "v2g_packages.service": f"""\
[Unit]
Description=Package of v2g-engine: goes back from what was not confirmed
Before=v2g-secc.service v2g-csms.service v2g-telemetry.service
RequiresMountsFor={FOLDER}
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={SCRIPT} boot
TimeoutStartSec=infinity
{RETRY[0]}
{RETRY[1]}

[Install]
WantedBy=multi-user.target
""",
    "v2g_packages.socket": f"""\
[Unit]
Description=Package of v2g-engine: requests of the program that updates

[Socket]
ListenStream={SOCKET}
Accept=yes
MaxConnections=4
SocketUser={{user}}
SocketMode=0600

[Install]
WantedBy=sockets.target
""",
    "v2g_packages@.service": f"""\
[Unit]
Description=Package of v2g-engine: a step of an update

[Service]
ExecStart={SCRIPT} serve
StandardInput=socket
""",
}


class StepError(Exception):
    """A step that failed, with its exit code."""

    def __init__(self, why: str, code: int = 1) -> None:
        super().__init__(why)
        self.code = code


def init(package: Path, root: Path, url: str, hardware: str, user: str, trial_s: int) -> None:
    """Make the installed package, whose file is `package`, slot `a`. Repeat it after an installation by hand."""
    name, version = _field(package, "Package"), _field(package, "Version")
    if _installed(name) != version:
        raise StepError(f"{name} {version} is not what is installed: {_installed(name) or 'nothing'}")
    FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    with _locked():
        for each in ("once", "b.deb", "a.json", "b.json"):
            (FOLDER / each).unlink(missing_ok=True)
        with package.open("rb") as file:
            _write("a.deb", file, package.stat().st_size)
        _write("root.json", root.read_bytes())
        _write("settings.json", json.dumps({"url": url, "hardware": hardware, "trial_s": trial_s}).encode())
        _write("active", b"a")
        _write("runs", b"a")
        _write(SCRIPT.name, Path(__file__).read_bytes())
        SCRIPT.chmod(0o755)
    for unit, text in _MADE.items():
        (UNITS / unit).write_text(text.replace("{user}", user))
    _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", "v2g_packages.service")
    _run("systemctl", "enable", "--now", "v2g_packages.socket")


def serve() -> None:
    """Carry out one request: a line of JSON, for `install` followed by the package, from standard input."""
    with socket.socket(fileno=os.dup(0)) as peer, peer.makefile("rb") as read:
        code, text = 0, ""
        try:
            request = json.loads(read.readline(4096))
            with _locked(LOCK_S):
                text = _step(str(request["step"]), str(request.get("name", "")), read)
        except StepError as error:
            code, text = error.code, str(error)
        except (OSError, ValueError, KeyError, TypeError) as error:
            code, text = 1, f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # who asked may be gone
            peer.sendall(json.dumps({"code": code, "text": text}).encode() + b"\n")
    if code:
        sys.exit(text)


def ask(step: str, image: Path | None) -> NoReturn:
    """Send a request, as the program's user; print the answer, and exit with its code."""
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(SOCKET)
            name = ""
            if image is not None:
                name = json.loads(image.with_name("release.json").read_bytes())["name"]
            peer.sendall(json.dumps({"step": step, "name": name}).encode() + b"\n")
            if image is not None:
                with image.open("rb") as file, contextlib.suppress(ConnectionError):  # the answer says why
                    peer.sendfile(file)
            answer = json.loads(peer.makefile("rb").readline())
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{SOCKET}: {error}")
    print(answer["text"])
    sys.exit(answer["code"])


def boot() -> None:
    """Install what shall run: the slot on trial once, else the one to stay with, also over an interrupted dpkg."""
    with _locked():
        once = _read("once")
        if once:
            _write("runs", once.encode())  # before anything changes: after a power cut it goes back
            (FOLDER / "once").unlink()
            _sync(FOLDER)
            if _install(once):
                _begin_trial()
                return
        active = _read("active")
        if _read("runs") != active:
            if not _install(active):
                raise StepError(f"slot {active} cannot be installed")
            _write("runs", active.encode())


def _step(step: str, name: str, image: IO[bytes]) -> str:
    runs = _read("runs")
    other = "b" if runs == "a" else "a"
    match step:
        case "running":
            package = FOLDER / f"{runs}.deb"
            if _installed(_field(package, "Package")) != _field(package, "Version"):
                raise StepError(f"what is installed is not slot {runs}: repeat `{SCRIPT} init`")
            return runs
        case "install":
            _take(image, name, runs, other)
        case "activate":
            _write("once", other.encode())
            _boot_soon()
        case "confirm":
            _write("active", runs.encode())
        case "roll_back":
            (FOLDER / "once").unlink(missing_ok=True)
            if _read("active") == runs:  # a power cut came after it was confirmed
                _write("active", other.encode())
            _boot_soon()
        case _:
            raise StepError(f"there is no step {step!r}")
    return ""


def _take(image: IO[bytes], name: str, runs: str, other: str) -> None:
    """Write a package into a slot, if it is a release for this hardware, and of the package that is installed."""
    settings = _json("settings.json")
    number = _json(f"{runs}.json").get("facts", {}).get("number", 0)
    words = ["verify", "--json", "--root", str(FOLDER / "root.json"), "--seen", str(FOLDER / "seen")]
    words += ["--hardware", settings["hardware"], "--installed", str(number), "--", settings["url"], name]
    found = subprocess.run(["/usr/bin/v2g", "ota", *words], capture_output=True, text=True, check=False)
    if found.returncode:
        raise StepError(found.stderr.strip() or "v2g ota verify failed", BAD_IMAGE)
    release, new = json.loads(found.stdout), FOLDER / "new.deb"
    _write(new.name, image, release["length"])
    with new.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    if digest.digest() != base64.b64decode(release["digest"]):
        raise StepError(f"this is not the file that is released as {name}", BAD_IMAGE)
    is_for = [_field(FOLDER / f"{runs}.deb", each) for each in ("Package", "Architecture")]
    if [_field(new, each) for each in ("Package", "Architecture")] != is_for:
        raise StepError(f"{name} is not a package {' for '.join(is_for)}", BAD_IMAGE)
    new.replace(FOLDER / f"{other}.deb")
    _write(f"{other}.json", json.dumps(release).encode())


def _install(slot: str) -> bool:
    """Install a slot's package, also over one that an interrupted dpkg left in between."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "env": environment, "check": False}
    subprocess.run([*DPKG, "--configure", "--pending"], **options)  # may fail: the package is replaced next
    done = subprocess.run([*DPKG, "--install", str(FOLDER / f"{slot}.deb")], **options)
    return done.returncode == 0


def _begin_trial() -> None:
    """Go back after a while, unless it is confirmed: a release that does not even start says nothing."""
    after = f"--on-active={_json('settings.json')['trial_s']}"
    subprocess.run(["systemctl", "stop", f"{TRIAL}.timer"], stderr=subprocess.DEVNULL, check=False)
    _run("systemd-run", "--collect", f"--unit={TRIAL}", after, *_properties(), str(SCRIPT), "boot")


def _boot_soon() -> None:
    """Run `boot` as a unit of its own: the package's services end meanwhile."""
    _run("systemd-run", "--collect", "--no-block", *_properties(), str(SCRIPT), "boot")


def _properties() -> list[str]:
    return [f"--property={each}" for each in RETRY]


def _field(package: Path, name: str) -> str:
    try:
        return _run("dpkg-deb", "--field", str(package), name)
    except StepError as error:
        raise StepError(str(error), BAD_IMAGE) from None


def _installed(name: str) -> str:
    """Return the version of a package that is wholly installed; empty if it is not."""
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", name]
    state, _, version = subprocess.run(query, capture_output=True, text=True, check=False).stdout.partition(" ")
    return version if state == "installed" else ""


def _run(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepError(f"{command[0]} exited with code {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


@contextlib.contextmanager
def _locked(most_s: float = float("inf")) -> Iterator[None]:
    """Wait for other steps; for a program not for ever: an installation waits for the end of its service."""
    end = time.monotonic() + most_s
    with (FOLDER / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StepError("another step is not over yet") from None
                time.sleep(0.1)
        yield


def _read(name: str) -> str:
    path = FOLDER / name
    text = path.read_text() if path.exists() else ""
    return text if text in ("a", "b") else ""


def _json(name: str) -> dict[str, Any]:
    path = FOLDER / name
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return found


def _write(name: str, content: bytes | IO[bytes], most: int = 0) -> None:
    """Write a file as a whole, durably; of another file at most so many octets."""
    part = FOLDER / f".{name}"
    with part.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            while most > 0 and (piece := content.read(min(most, 1 << 20))):
                most -= file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    part.replace(FOLDER / name)
    _sync(FOLDER)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> None:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="packages.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("init", help="make the installed package a slot")
    first.add_argument("package", type=Path, help="its file")
    first.add_argument("--root", type=Path, required=True, help="root metadata of the repository of releases")
    first.add_argument("--url", required=True, help="its address")
    first.add_argument("--hardware", required=True, help="kind of this hardware")
    first.add_argument("--user", required=True, help="user of the program that updates, such as v2g-secc")
    first.add_argument("--trial-s", type=int, default=60, help="time within which it confirms a release, s")
    for step in ("running", "activate", "confirm", "roll_back", "serve", "boot"):
        commands.add_parser(step)
    commands.add_parser("install").add_argument("image", type=Path)
    options = parser.parse_args()
    try:
        match options.command:
            case "init":
                init(*(getattr(options, each) for each in ("package", "root", "url", "hardware", "user", "trial_s")))
            case "serve":
                serve()
            case "boot":
                boot()
            case step:
                ask(step, getattr(options, "image", None))
    except StepError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")


if __name__ == "__main__":
    main()
