"""An independent ISO 15118 implementation as a peer: installed from PyPI into an environment of its own.

It needs Java (its EXI codec), and it runs in two network namespaces, where it finds chargers by link-local multicast
as on a real powerline link. Nothing of it is part of this project.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tests import packages
from tests.interop import cable, environments
from tests.interop.cable import EVCC_INTERFACE, SECC_INTERFACE, Cable, inside
from v2g.iso15118.select import EditionName
from v2g_cli.demo.processes import EventFile, Program

PACKAGE = "iso15118==0.28.5"
EXTRA = ("aiofile", "marshmallow<4")  # what the package needs but does not pin or declare
PASSWORD = b"12345"  # of the test keys its own script makes
CACHE = environments.CACHE / "peer"
EMAID = "UKSWI123456791A"
"""Common name of the contract certificate that its script makes."""

CERTIFICATES = {
    "secc": ("seccLeaf", "cpoSubCA2", "cpoSubCA1"),
    "vehicle": ("oemLeaf", "oemSubCA2", "oemSubCA1"),
    "contract": ("contractLeaf", "moSubCA2", "moSubCA1"),
}
"""Chains of its PKI, leaf first; the leaf is also the name of the key."""

PROTOCOLS: Mapping[EditionName, str] = {"20": "ISO_15118_20_{}", "2": "ISO_15118_2", "din": "DIN_SPEC_70121"}
"""Its names of the editions; those of ISO 15118-20 have the current."""

MODES = {"AC": "AC_three_phase_core", "DC": "DC_extended"}
"""Its EnergyTransferMode of ISO 15118-2 and DIN 70121, by current."""

LOOPS = 10
"""Charge loops of its vehicle."""


def missing() -> str:
    """Return why the peer cannot run here, or an empty string."""
    if reason := cable.missing():
        return reason
    java = packages.missing("openjdk-17-jre-headless", program="java")
    return java or packages.missing("openssl", program="openssl")


def install() -> Path:
    """Return the interpreter of the peer's environment, made at first use and kept in .cache/."""
    return environments.environment("peer", (PACKAGE,), ("--target", "{folder}/extra", *EXTRA))


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

    def charger(
        self,
        where: Cable,
        log: Path,
        *program: str,
        current: str = "DC",
        edition: EditionName = "20",
        modes: str = "PNC,EIM",
        with_tls: bool = True,
    ) -> Program:
        """Return its charger for AC or DC: TLS enforced unless told otherwise, Plug & Charge first.

        `program` is a script and its arguments, else its own main.
        """
        command = program or ("-m", "iso15118.secc.main")
        return self._program(
            "charger",
            inside(where.secc, str(self.python), *command),
            log,
            SECC_INTERFACE,
            edition,
            PROTOCOLS=PROTOCOLS[edition].format(current),
            SECC_ENFORCE_TLS=str(with_tls),
            AUTH_MODES=modes,
        )

    def vehicle(
        self,
        where: Cable,
        log: Path,
        *program: str,
        service: str = "DC_BPT",
        edition: EditionName = "20",
        with_tls: bool = True,
    ) -> Program:
        """Return its vehicle for one session: `program` is a script and its arguments, else its own main."""
        wanted = {
            "supportedProtocols": [PROTOCOLS[edition].format(service[:2])],
            "supportedEnergyServices": [service],
            "energyTransferMode": MODES[service[:2]],
            "isCertInstallNeeded": False,
            "useTls": with_tls,
            "enforceTls": with_tls,
            "chargeLoopCycle": LOOPS,
        }
        settings = log.with_suffix(".json")
        settings.write_text(json.dumps(wanted))
        command = (*program, str(settings)) if program else ("-m", "iso15118.evcc.main", str(settings))
        return self._program("vehicle", inside(where.evcc, str(self.python), *command), log, EVCC_INTERFACE, edition)

    def _program(
        self, name: str, command: list[str], log: Path, interface: str, edition: EditionName, **settings: str
    ) -> Program:
        values = {
            "PYTHONPATH": str(CACHE / "extra"),
            "PKI_PATH": f"{self.folder / 'pki'}/",
            "NETWORK_INTERFACE": interface,
            "LOG_LEVEL": "INFO",
            "MESSAGE_LOG_JSON": "True",
            # with it, its charger requests a certificate from vehicles of ISO 15118-2 too
            "ENABLE_TLS_1_3": str(edition == "20"),
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
