"""The official schema files, and a codec that we did not write, from a package on PyPI. Nothing of it is kept here."""

import fcntl
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "iso15118==0.28.5"
BRIDGE = "py4j==0.10.9.9"
"""Lets Python drive Java, as that package does."""
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "iso15118"

APP_PROTOCOL = "V2G_CI_AppProtocol.xsd"
XMLDSIG = "xmldsig-core-schema.xsd"
COMMON_TYPES = "V2G_CI_CommonTypes.xsd"
COMMON_MESSAGES = "V2G_CI_CommonMessages.xsd"
AC = "V2G_CI_AC.xsd"
DC = "V2G_CI_DC.xsd"
WPT = "V2G_CI_WPT.xsd"
ACDP = "V2G_CI_ACDP.xsd"
ISO2 = "iso15118_2/V2G_CI_MsgDef.xsd"
DIN = "din_spec/V2G_CI_MsgDef.xsd"


class Unreachable(Exception):
    """A package is not at hand and no package index answers."""


def schema_folder() -> Path:
    """Return a folder with the schema files of the handshake, -20 and xmldsig side by side, and `EXICodec.jar`.

    Those of -2 and DIN 70121, whose files have equal names, are in folders of their own beside them.
    """
    folder = CACHE / "schemas"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _unpack(_wheel(), folder)
    return folder


def bridge_folder() -> Path:
    """Return a folder that holds nothing but the bridge to Java, made at first use."""
    folder = CACHE / "bridge"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            _pip("install", "--target", str(part), package=BRIDGE)
            part.rename(folder)
    return folder


def _wheel() -> Path:
    if not list(CACHE.glob("iso15118-*.whl")):
        _pip("download", "--dest", str(CACHE), package=PACKAGE)
    return next(CACHE.glob("iso15118-*.whl"))


def _pip(command: str, *options: str, package: str) -> None:
    quiet = ["-q", "--no-deps", "--disable-pip-version-check"]
    call = [sys.executable, "-m", "pip", command, *quiet, *options, package]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise Unreachable(f"no package index gives {package}: {done.stderr.strip()[-300:]}")


def _unpack(wheel: Path, folder: Path) -> None:
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    older = ("iso15118_2", "din_spec")
    for name in ("", *older):
        (part / name).mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = Path(name)
            if path.name == "EXICodec.jar" or (
                path.suffix == ".xsd" and path.parent.name in ("schemas", "iso15118_20")
            ):
                (part / path.name).write_bytes(archive.read(name))
            elif path.suffix == ".xsd" and path.parent.name in older:
                (part / path.parent.name / path.name).write_bytes(archive.read(name))
    # Its document type names a file on the Web, which parsers would fetch.
    dsig = part / XMLDSIG
    dsig.write_text(re.sub(r"<!DOCTYPE.*?\]>", "", dsig.read_text("utf-8"), flags=re.DOTALL), "utf-8")
    shutil.copy(dsig, part / "din_spec" / XMLDSIG)  # these files look for it beside them
    part.rename(folder)
