"""The key stores as the suite sees them: SoftHSM and a software TPM of the test's own, and plain files."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, ed448

from tests.packages import need
from v2g.io.keys import pkcs11, tpm
from v2g.io.keys.pkcs11_module import load_module
from v2g.pki.keys import Algorithm, PrivateKey, save_key
from v2g.pki.reference import KeyReference

PIN: Final = "2468"
WRONG: Final = "1357"
SOFTHSM: Final = Path("/usr/lib/softhsm/libsofthsm2.so")

NEW_KEY: Final[dict[Algorithm, Callable[[], PrivateKey]]] = {
    Algorithm.ECDSA_SHA512: lambda: ec.generate_private_key(ec.SECP521R1()),
    Algorithm.ECDSA_SHA256: lambda: ec.generate_private_key(ec.SECP256R1()),
    Algorithm.ED448: ed448.Ed448PrivateKey.generate,
}


class Store(Protocol):
    """One kind of store, with keys that need PIN."""

    folder: Path

    def make(self, algorithm: Algorithm) -> str:
        """Make a key; return its reference without PIN."""

    def withdraw(self) -> None:
        """Take the store away while its keys are in use."""


def refer(reference: str, store: Store, *, pin: str | None = PIN) -> KeyReference:
    """Return a reference together with its PIN, which stands in a file."""
    if pin is None:
        return KeyReference.from_text(reference, store.folder)
    file = store.folder / ("pin" if pin == PIN else "wrong-pin")
    file.touch(mode=0o600)
    file.write_text(f"{pin}\n")
    joint = "&" if "?" in reference else "?"
    return KeyReference.from_text(f"{reference}{joint}pin-source=file:{file.name}", store.folder)


class Files:
    """Encrypted files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, algorithm: Algorithm) -> str:
        """Write a key."""
        name = f"{algorithm.value}.key"
        save_key(self.folder / name, NEW_KEY[algorithm](), PIN.encode())
        return f"file:{name}"

    def withdraw(self) -> None:
        """Delete the files."""
        for path in self.folder.glob("*.key"):
            path.unlink()


class SoftHsm:
    """A token of SoftHSM2."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokens = folder / "tokens"
        self.tokens.mkdir()
        settings = folder / "softhsm2.conf"
        settings.write_text(f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(settings)
        label = ["--label", "car", "--pin", PIN, "--so-pin", "8642"]
        subprocess.run(["softhsm2-util", "--init-token", "--free", *label], check=True, capture_output=True)

    def make(self, algorithm: Algorithm) -> str:
        """Make a key inside the token."""
        reference = f"pkcs11:token=car;object={algorithm.value}?module-path={SOFTHSM}"
        pkcs11.make_pkcs11(refer(reference, self), algorithm).close()
        return reference

    def withdraw(self) -> None:
        """Pull the token out."""
        self.tokens.rename(self.folder / "pulled out")

    def tool(self, *arguments: str) -> str:
        """Return what OpenSC's tool says of the token."""
        command = ["pkcs11-tool", "--module", str(SOFTHSM), "--token-label", "car", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout + done.stderr


@contextmanager
def softhsm(folder: Path) -> Iterator[SoftHsm]:
    """Give a token; the library forgets it at the end."""
    need("softhsm2")
    before = os.environ.get("SOFTHSM2_CONF")
    try:
        yield SoftHsm(folder)
    finally:
        load_module(str(SOFTHSM)).close()
        load_module.cache_clear()
        os.environ.pop("SOFTHSM2_CONF")
        if before is not None:
            os.environ["SOFTHSM2_CONF"] = before


class Tpm:
    """A software TPM (swtpm, libtpms) behind a socket of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._state = folder / "tpm"
        self._state.mkdir()
        self._place = Path(tempfile.mkdtemp(prefix="tpm"))  # names of sockets are short
        self._process: subprocess.Popen[bytes] | None = None
        self.tcti = f"swtpm:path={self._place / 'tpm'}"
        self.start()

    def start(self) -> None:
        """Switch the TPM on."""
        data, control = self._place / "tpm", self._place / "tpm.ctrl"
        self._process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._state}", "--flags", "not-need-init,startup-clear",
             "--server", f"type=unixio,path={data}", "--ctrl", f"type=unixio,path={control}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not (_listens(control) and _listens(data)):
            assert self._process.poll() is None, "swtpm does not start"
            assert time.monotonic() < deadline, "swtpm does not listen"
            time.sleep(0.01)

    def make(self, algorithm: Algorithm) -> str:
        """Make a key that only this TPM can use."""
        reference = f"file:{algorithm.value}.tss?tcti={self.tcti}"
        tpm.make_tpm(refer(reference, self), algorithm).close()
        return reference

    def make_quoting_key(self, handle: str = "0x81010002") -> Path:
        """Make a restricted key that signs quotes only, by tpm2-tools; return the file of its public half."""
        self.tool("tpm2_createek", "-c", "0x81010001", "-G", "ecc", "-u", "ek.pub")
        self.tool("tpm2_flushcontext", "-t")  # no resource manager does it
        self.tool(
            "tpm2_createak", "-C", "0x81010001", "-c", "ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa",
            "-u", "ak.pem", "-f", "pem", "-n", "ak.name",
        )  # fmt: skip
        for kind in "tls":
            self.tool("tpm2_flushcontext", f"-{kind}")
        self.tool("tpm2_evictcontrol", "-c", "ak.ctx", handle)
        self.tool("tpm2_flushcontext", "-t")
        return self.folder / "ak.pem"

    def withdraw(self) -> None:
        """Switch the TPM off."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for path in self._place.iterdir():
            path.unlink()

    def remove(self) -> None:
        """Leave nothing behind."""
        self.withdraw()
        self._place.rmdir()

    def tool(self, *command: str) -> str:
        """Return what tpm2-tools say; the provider must have let go of the TPM, which serves one at a time."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti}
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout


@contextmanager
def swtpm(folder: Path) -> Iterator[Tpm]:
    """Give a TPM; it is switched off at the end."""
    need("swtpm", "tpm2-openssl", "tpm2-tools")
    made = Tpm(folder)
    try:
        yield made
    finally:
        made.remove()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
