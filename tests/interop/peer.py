"""An independent ISO 15118 implementation as a peer: installed from PyPI into an environment of its own.

It needs Java (its EXI codec) and root (two network namespaces joined by a virtual cable, so that link-local
multicast works as on a real powerline link). Nothing of it is part of this project.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

PACKAGE = "iso15118==0.28.5"
EXTRA = ("aiofile", "marshmallow<4")  # what the package needs but does not pin or declare
PASSWORD = b"12345"  # of the test keys its own script makes
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "peer"


def missing() -> str:
    """Return why the peer cannot run here, or an empty string."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program, package in (("java", "openjdk-17-jre-headless"), ("ip", "iproute2"), ("openssl", "openssl")):
        if shutil.which(program) is None:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(["apt-get", "install", "-y", "-q", package], check=True, capture_output=True)
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian package {package})"
    probe = subprocess.run(["ip", "netns", "add", "v2g-probe"], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", "v2g-probe"], capture_output=True)
    return "" if probe.returncode == 0 else f"no network namespaces here: {probe.stderr.strip()}"


def install() -> Path:
    """Return the interpreter of the peer's environment, made at first use and kept in .cache/."""
    CACHE.mkdir(parents=True, exist_ok=True)
    done = CACHE / "installed"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = CACHE / "venv" / "bin" / "python"
        if not done.exists():
            shutil.rmtree(CACHE / "venv", ignore_errors=True)
            shutil.rmtree(CACHE / "extra", ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(CACHE / "venv")], check=True, capture_output=True)
            pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, PACKAGE], check=True, capture_output=True)
            subprocess.run([*pip, "--target", str(CACHE / "extra"), *EXTRA], check=True, capture_output=True)
            done.touch()
    return python


def shared_folder(python: Path) -> Path:
    """Return the folder of the installed package that holds its schemas, PKI script and examples."""
    return next((python.parents[1] / "lib").glob("python3.*/site-packages/iso15118/shared"))


@dataclass(frozen=True)
class Peer:
    """A scratch copy of the peer's PKI and the means to start either of its roles."""

    python: Path
    folder: Path

    @property
    def certificates(self) -> Path:
        """PEM and DER certificates."""
        return self.folder / "pki" / "iso15118_2" / "certs"

    def key(self, name: str) -> Path:
        """Return one of its private keys, decrypted, in a file of mode 0600."""
        source = self.folder / "pki" / "iso15118_2" / "private_keys" / f"{name}.key"
        key = serialization.load_pem_private_key(source.read_bytes(), PASSWORD)
        target = self.folder / f"{name}.plain.key"
        target.touch(mode=0o600)
        target.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return target

    def chain(self, *names: str) -> Path:
        """Return a PEM file with the named certificates, leaf first."""
        target = self.folder / f"{'-'.join(names)}.pem"
        target.write_bytes(b"".join((self.certificates / f"{name}.pem").read_bytes() for name in names))
        return target

    def start(self, role: str, namespace: str, interface: str, log: Path, *arguments: str, **settings: str) -> (
        "subprocess.Popen[bytes]"
    ):  # fmt: skip
        """Start `secc` or `evcc` in a network namespace; its output goes to `log`."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(CACHE / "extra"),
            "PKI_PATH": f"{self.folder / 'pki'}/",
            "NETWORK_INTERFACE": interface,
            "LOG_LEVEL": "INFO",
            "ENABLE_TLS_1_3": "True",
            **settings,
        }
        with log.open("wb") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", namespace, str(self.python), "-m", f"iso15118.{role}.main", *arguments],
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def make_peer(folder: Path) -> Peer:
    """Return a peer whose PKI its own script has just made in `folder`."""
    python = install()
    shared = shared_folder(python)
    shutil.copytree(shared / "pki", folder / "pki")
    shutil.copytree(shared / "examples", folder / "examples")
    script = folder / "pki" / "create_certs.sh"
    script.chmod(0o700)
    subprocess.run([str(script), "-v", "iso-2"], cwd=folder / "pki", check=True, capture_output=True)
    return Peer(python, folder)


@dataclass(frozen=True)
class Cable:
    """Two network namespaces joined by a virtual Ethernet cable."""

    secc: str
    evcc: str
    secc_interface: str = "vsecc"
    evcc_interface: str = "vevcc"


@contextlib.contextmanager
def cable(tag: str) -> Iterator[Cable]:
    """Give two namespaces whose interfaces have usable link-local addresses; both vanish at the end."""
    names = Cable(f"v2g-s-{tag}", f"v2g-e-{tag}")

    def ip(*arguments: str, check: bool = True) -> str:
        return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True).stdout

    ends = ((names.secc, names.secc_interface), (names.evcc, names.evcc_interface))
    try:
        for namespace, _ in ends:
            ip("netns", "add", namespace)
            # without duplicate address detection an address is usable at once
            for scope in ("all", "default"):
                ip("netns", "exec", namespace, "sysctl", "-qw", f"net.ipv6.conf.{scope}.accept_dad=0", check=False)
        ip("link", "add", names.secc_interface, "netns", names.secc, "type", "veth",
           "peer", "name", names.evcc_interface, "netns", names.evcc)  # fmt: skip
        for namespace, interface in ends:
            ip("-n", namespace, "link", "set", "lo", "up")
            ip("-n", namespace, "link", "set", interface, "up")
        yield names
    finally:
        for namespace, _ in ends:
            ip("netns", "del", namespace, check=False)
