"""An independent ISO 15118 implementation as a peer: installed from PyPI into an environment of its own.

It needs Java (its EXI codec), and it runs in two network namespaces, where it finds chargers by link-local multicast
as on a real powerline link. Nothing of it is part of this project.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from cli.demo.processes import EventFile, Program
from tests.interop import cable
from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, Cable, inside

PACKAGE = "iso15118==0.28.5"
EXTRA = ("aiofile", "marshmallow<4")  # what the package needs but does not pin or declare
PASSWORD = b"12345"  # of the test keys its own script makes
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "peer"
EMAID = "UKSWI123456791A"
"""Common name of the contract certificate that its script makes."""

CERTIFICATES = {
    "secc": ("seccLeaf", "cpoSubCA2", "cpoSubCA1"),
    "vehicle": ("oemLeaf", "oemSubCA2", "oemSubCA1"),
    "contract": ("contractLeaf", "moSubCA2", "moSubCA1"),
}
"""Chains of its PKI, leaf first; the leaf is also the name of the key."""

DC_BPT = {
    "supportedProtocols": ["ISO_15118_20_DC"],
    "supportedEnergyServices": ["DC_BPT"],
    "isCertInstallNeeded": False,
    "useTls": True,
    "enforceTls": True,
    "chargeLoopCycle": 10,
}
"""Its vehicle's settings for one bidirectional run over TLS."""


def missing() -> str:
    """Return why the peer cannot run here, or an empty string."""
    if reason := cable.missing():
        return reason
    for program, package in (("java", "openjdk-17-jre-headless"), ("openssl", "openssl")):
        if shutil.which(program) is None:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(["apt-get", "install", "-y", "-q", package], check=True, capture_output=True)
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian package {package})"
    return ""


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
            _run(sys.executable, "-m", "venv", str(CACHE / "venv"))
            pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries", "5"]
            _run(*pip, PACKAGE)
            _run(*pip, "--target", str(CACHE / "extra"), *EXTRA)
            done.touch()
    return python


def _run(*command: str) -> None:
    """Run an installer as if from a shell: what our own interpreter was told (warnings, paths) is not its business."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    subprocess.run(command, check=True, capture_output=True, env=kept)


def shared_folder(python: Path) -> Path:
    """Return the folder of the installed package that holds its schemas, PKI script and examples."""
    return next((python.parents[1] / "lib").glob("python3.*/site-packages/iso15118/shared"))


@dataclass(frozen=True)
class Peer:
    """A scratch copy of the peer's PKI and the means to start either of its roles."""

    python: Path
    folder: Path

    def root(self, name: str) -> Path:
        """Return the root certificate `v2g`, `oem` or `mo`, PEM."""
        return self._certificates / f"{name}RootCACert.pem"

    def chain(self, name: str) -> Path:
        """Return a chain of CERTIFICATES, PEM, leaf first."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """Return the leaf's private key, decrypted, in a file of mode 0600."""
        return self.folder / f"{name}.key"

    @property
    def _certificates(self) -> Path:
        return self.folder / "pki" / "iso15118_2" / "certs"

    def unlock(self) -> None:
        """Write chains and keys in the form that other programs read."""
        for name, (leaf, *issuers) in CERTIFICATES.items():
            parts = (self._certificates / f"{each}Cert.pem" for each in (leaf, *issuers))
            self.chain(name).write_bytes(b"".join(part.read_bytes() for part in parts))
            locked = self.folder / "pki" / "iso15118_2" / "private_keys" / f"{leaf}.key"
            key = serialization.load_pem_private_key(locked.read_bytes(), PASSWORD)
            self.key(name).touch(mode=0o600)
            self.key(name).write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                )
            )

    def charger(self, where: Cable, log: Path) -> Program:
        """Return its charger: TLS enforced, Plug & Charge first."""
        return self._program(
            "charger",
            inside(where.secc, str(self.python), "-m", "iso15118.secc.main"),
            log,
            SECC_INTERFACE,
            PROTOCOLS="ISO_15118_20_DC",
            SECC_ENFORCE_TLS="True",
            AUTH_MODES="PNC,EIM",
        )

    def vehicle(self, where: Cable, log: Path, *program: str) -> Program:
        """Return its vehicle for one DC_BPT session: `program` is a script and its arguments, else its own main."""
        settings = log.with_suffix(".json")
        settings.write_text(json.dumps(DC_BPT))
        command = (*program, str(settings)) if program else ("-m", "iso15118.evcc.main", str(settings))
        return self._program("vehicle", inside(where.evcc, str(self.python), *command), log, EVCC_INTERFACE)

    def _program(self, name: str, command: list[str], log: Path, interface: str, **settings: str) -> Program:
        values = {
            "PYTHONPATH": str(CACHE / "extra"),
            "PKI_PATH": f"{self.folder / 'pki'}/",
            "NETWORK_INTERFACE": interface,
            "LOG_LEVEL": "INFO",
            "MESSAGE_LOG_JSON": "True",
            "ENABLE_TLS_1_3": "True",
            **settings,
        }
        environment = ["env", *(f"{key}={value}" for key, value in values.items())]
        # its processes write into their working directory
        shell = ["sh", "-c", 'cd "$0" && exec "$@"', str(self.folder), *environment, *command]
        return Program(name, shell, log, EventFile(log.with_suffix(".none")))


def make_peer(folder: Path) -> Peer:
    """Return a peer whose PKI its own script has just made in `folder`."""
    python = install()
    shared = shared_folder(python)
    shutil.copytree(shared / "pki", folder / "pki")
    shutil.copytree(shared / "examples", folder / "examples")
    script = folder / "pki" / "create_certs.sh"
    script.chmod(0o700)
    subprocess.run([str(script), "-v", "iso-2"], cwd=folder / "pki", check=True, capture_output=True)
    peer = Peer(python, folder)
    peer.unlock()
    return peer
