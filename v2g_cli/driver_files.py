"""The drop-in folder of a packaged charger: drivers of its maker, a wheel or a module each, beside the package's own.

All or nothing: the folder is made anew beside the old one, and takes its place. Its files are compiled, so that no
program writes there, and below the folder that a signed manifest covers (`v2g attest`).
"""

import ast
import base64
import compileall
import csv
import hashlib
import os
import platform
import py_compile
import re
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

from v2g.errors import ConfigError, StoreError
from v2g.extras import DRIVERS
from v2g.io.hardware.driver import GROUP
from v2g.io.ota.opening import GROUP as INSTALLERS
from v2g.text import printable

MOST_BYTES: Final = 64 * 1024 * 1024
MOST_FILES: Final = 5_000
"""Of a wheel, unpacked."""

OURS: Final = frozenset({"v2g", "v2g_cli", "v2g_gateway", "v2g_station", "v2g_testkit", "secc", "evcc", "csms"})
"""Modules of v2g-engine, which are found before those of the folder."""


class Dropped(msgspec.Struct, frozen=True):
    """A distribution in the folder, and the names of its drivers and installers."""

    name: str
    version: str
    drivers: tuple[str, ...]


def install(file: Path, folder: Path = DRIVERS, *, name: str = "") -> Dropped:
    """Put a wheel, or a module with `DRIVER`, into the folder, in place of an earlier version of it; `name` is that of
    a module's driver, else the module's. Raises ConfigError for a file that is neither, StoreError for the disk."""
    try:
        files = dict(_of_wheel(file) if file.suffix == ".whl" else _of_module(file, name or file.stem))
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError) as error:
        raise ConfigError(f"{file}: {printable(str(error))}", hint="a wheel, or a module of Python") from None
    found = _described(file, files)
    new, old = (folder.with_name(f"{folder.name}.{which}") for which in ("new", "old"))
    try:
        if old.exists() and not folder.exists():  # an earlier run ended between the two renames below
            old.rename(folder)
        # make a folder. Raises ConfigError if others than its owner may write there
        folder.parent.mkdir(parents=True, exist_ok=True)
        for each in (folder.parent, folder):
            if each.exists() and each.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise ConfigError(f"{each} may be changed by others than its owner", hint=f"chmod go-w {each}")
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        _copied(folder, new, without=found.name)
        for path, content in files.items():
            target = new / path
            if target.exists():
                raise ConfigError(f"{path} of {file} is another distribution's file in {folder}")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        _readable(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}", hint="the folder is root's: sudo") from None
    finally:
        for left in (new, *((old,) if folder.exists() else ())):
            shutil.rmtree(left, ignore_errors=True)
    return found


def _of_wheel(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a wheel, which are those of its RECORD. Raises ConfigError."""
    _fits(file)
    with zipfile.ZipFile(file) as wheel:
        listed = [each for each in wheel.infolist() if not each.is_dir()]
        if len(listed) > MOST_FILES or sum(each.file_size for each in listed) > MOST_BYTES:
            raise ConfigError(f"{file} has more than {MOST_FILES} files, or {MOST_BYTES >> 20} MiB")
        found: dict[str, bytes] = {}
        for each in listed:
            path = PurePosixPath(each.filename)
            if (
                path.is_absolute()
                or ".." in path.parts
                or "\\" in each.filename
                or stat.S_ISLNK(each.external_attr >> 16)
            ):
                raise ConfigError(f"{file} has a file outside of it: {printable(each.filename)}")
            if path.parts[0].endswith(".data"):
                raise ConfigError(f"{file} has {printable(each.filename)}", hint="scripts and data are not installed")
            with wheel.open(each) as content:
                found[str(path)] = content.read(each.file_size + 1)
    _recorded(file, found)
    yield from found.items()


def _fits(file: Path) -> None:
    """Raise ConfigError for a wheel of another interpreter or machine."""
    parts = file.stem.split("-")
    if len(parts) not in (5, 6):
        raise ConfigError(f"{file.name} is no name of a wheel", hint="NAME-VERSION-PYTHON-ABI-PLATFORM.whl")
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    fits = (
        not {"py3", f"py3{sys.version_info.minor}", own}.isdisjoint(pythons) or "abi3" in abis,
        not {"none", "abi3", own}.isdisjoint(abis),
        any(
            each == "any" or (each.startswith(("linux", "manylinux")) and each.endswith(platform.machine()))
            for each in platforms
        ),
    )
    if not all(fits):
        raise ConfigError(f"{file.name} is for another Python or machine", hint=f"{own}, {platform.machine()}")


def _recorded(file: Path, found: dict[str, bytes]) -> None:
    """Raise ConfigError for a file that is not as RECORD lists it."""
    records = [name for name in found if re.fullmatch(r"[^/]+\.dist-info/RECORD", name)]
    if len(records) != 1:
        raise ConfigError(f"{file} is no wheel: it has no RECORD")
    rows = csv.reader(found[records[0]].decode(errors="replace").splitlines())
    digests = {row[0]: row[1] for row in rows if len(row) == 3}
    for name, content in found.items():
        expected = "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        if name != records[0] and digests.get(name) != expected:
            raise ConfigError(f"{printable(name)} of {file} is not as its RECORD lists it", hint="fetch the file again")


def _of_module(file: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield a module, and what makes it a distribution. Raises ConfigError."""
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise ConfigError(f"{file} is neither a wheel nor a module", hint="NAME-VERSION-....whl, or NAME.py")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ConfigError(f"{name!r} is not a name for a driver", hint="letters, digits, _ and -")
    if file.stat().st_size > MOST_BYTES:
        raise ConfigError(f"{file} is too large")
    source = file.read_bytes()
    try:
        tree = ast.parse(source, str(file))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{file}: {printable(str(error))}") from None
    targets = [target for each in tree.body if isinstance(each, ast.Assign) for target in each.targets]
    targets += [each.target for each in tree.body if isinstance(each, ast.AnnAssign)]
    if not any(isinstance(target, ast.Name) and target.id == "DRIVER" for target in targets):
        raise ConfigError(f"{file} assigns no DRIVER", hint="see docs/tutorials/drive-your-own-power-stage.md")
    metadata = f"{file.stem}-0.dist-info"
    yield file.name, source
    yield f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {file.stem}\nVersion: 0\n".encode()
    yield f"{metadata}/entry_points.txt", f"[{GROUP}]\n{name} = {file.stem}:DRIVER\n".encode()
    listed = (file.name, *(f"{metadata}/{each}" for each in ("METADATA", "entry_points.txt", "RECORD")))
    yield f"{metadata}/RECORD", "".join(f"{each},,\n" for each in listed).encode()


def _described(file: Path, files: dict[str, bytes]) -> Dropped:
    """Return what the files are. Raises ConfigError for those that cannot be used."""
    folders = {PurePosixPath(name).parts[0] for name in files if name.endswith(".dist-info/METADATA")}
    if len(folders) != 1:
        raise ConfigError(f"{file} is no wheel: it has no METADATA")
    (metadata,) = folders
    headers = HeaderParser().parsestr(files[f"{metadata}/METADATA"].decode(errors="replace"))
    name, its_version = printable(headers["Name"] or ""), printable(headers["Version"] or "")
    tops = {PurePosixPath(each).parts[0].removesuffix(".py") for each in files}
    if taken := sorted(tops & OURS):
        raise ConfigError(f"{file} has the module {taken[0]}, which is one of v2g-engine", hint="give it another name")
    for needed in headers.get_all("Requires-Dist", ()):
        package = re.match(r"[A-Za-z0-9._-]+", needed)
        if package is None or "extra ==" in needed:
            continue
        try:
            version(package[0])
        except PackageNotFoundError:
            raise ConfigError(
                f"{name} needs {printable(needed)}, which is not here", hint="v2g hardware install its wheel before"
            ) from None
    entries = files.get(f"{metadata}/entry_points.txt", b"").decode(errors="replace")
    groups = "|".join(map(re.escape, (GROUP, INSTALLERS)))
    sections = re.findall(rf"^\[(?:{groups})\]$(.*?)(?=^\[|\Z)", entries, re.DOTALL | re.MULTILINE)
    drivers = re.findall(r"^\s*([^\s=#]+)\s*=", "".join(sections), re.MULTILINE)
    return Dropped(name, its_version, tuple(printable(each) for each in drivers))


def _copied(folder: Path, new: Path, *, without: str) -> None:
    """Copy the folder without a distribution's files, those of bytecode included."""
    new.mkdir(0o755)
    if not folder.exists():
        return
    left: set[str] = set()
    for each in distributions(path=[str(folder)]):
        if _canonical(each.name) == _canonical(without):
            left |= {str(path) for path in each.files or ()}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts and str(relative) not in left:
            (new / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, new / relative)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _readable(folder: Path) -> None:
    """Compile all modules, by hash, and let everybody read."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, invalidation_mode=mode, stripdir=str(folder), prependdir=str(DRIVERS))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        if os.geteuid() == 0:
            os.chown(path, 0, 0)
