"""Compares the files of a running program with their signed manifest (`v2g.pki.attestation`, R148).

It detects what was changed beneath the program: a file, a module beside its own, an older release. Code that was
changed together with this module it cannot detect; verified boot of the operating system does.
"""

import contextlib
import functools
import hashlib
import os
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from v2g.errors import ConfigError, SignatureError, StoreError, V2GError
from v2g.pki.attestation import LINK, MOST_BYTES, SIGNATURE, Manifest, parse_manifest
from v2g.pki.keys import PublicKey
from v2g.pki.quote import MeasuredReport
from v2g.text import printable

BLOCK: Final = 64 * 1024
"""How much is read at a time, bytes."""

OFTEN: Final = 1024 * 1024
"""Bytes of files after which the loaded modules are examined again."""

_ADDED: Final = frozenset({"site-packages", "dist-packages"})

Pause = Callable[[int], None]
"""Called with the number of bytes read since the last call; it may wait, or raise to end the comparison."""

Kind = Literal["changed", "missing", "extra", "unsigned", "older"]


class FileDifference(msgspec.Struct, frozen=True):
    """How a file differs from the manifest; `unsigned` and `older` are the manifest itself."""

    kind: Kind
    path: str


def make_manifest(
    paths: Iterable[Path], *, release: str, version: int, system: Iterable[str] | None = None, root: Path = Path("/")
) -> Manifest:
    """Return the manifest of files and of all files in folders; `root` is where the system that gets them is built.

    Raises ConfigError for what is neither file, folder nor link, and for what is not below `root`.
    """
    files, folders = dict[str, str](), list[str]()

    def installed(path: Path) -> str:
        try:
            return "/" + str(path.relative_to(root))
        except ValueError:
            raise ConfigError(
                f"{path} is not below {root}", hint="--root: where the charger's files are laid out"
            ) from None

    root = root.resolve()
    for given in paths:
        path = given.resolve()
        if path.is_dir():
            folders.append(installed(path))
        for each in _below(path) if path.is_dir() else (path,):
            found = _content(each, lambda _: None)
            if found is None:
                raise ConfigError(f"{each} cannot be read, or is no file")
            files[installed(each)] = found
    return Manifest(
        release=release,
        version=version,
        folders=tuple(sorted(folders)),
        system=tuple(sorted(of_system() if system is None else system)),
        files=dict(sorted(files.items())),
    )


def of_system() -> set[str]:
    """Return the folders of this interpreter's own library, and of the system's shared libraries."""
    paths = sysconfig.get_paths()
    python = {os.path.realpath(each) for each in (paths["stdlib"], paths["platstdlib"])}
    return python | {
        os.path.realpath(each) for each in ("/lib", "/lib64", "/usr/lib", Path(sys.executable).resolve().parent)
    }


class Attestation:
    """Compares the files of one manifest with the disk and with what this process has loaded."""

    def __init__(self, manifest: Path, key: PublicKey) -> None:
        self._path, self._key = manifest, key
        self._accepted: set[str] = set()
        """Loaded files that were found to be listed, or of the system."""

    def differences(self, least: int, pause: Pause) -> Iterator[FileDifference]:
        """Yield how the disk and the loaded modules differ; `least` is the lowest acceptable version."""
        manifest = self.manifest()
        if isinstance(manifest, FileDifference):
            yield manifest
            return
        if manifest.version < least:
            yield FileDifference("older", str(self._path))
        strange = set(self.loaded(manifest))
        yield from sorted(strange, key=lambda each: each.path)
        for folder in manifest.folders:
            yield from (
                FileDifference("extra", str(path)) for path in _below(Path(folder)) if str(path) not in manifest.files
            )
            pause(0)
        read = 0

        def count(size: int) -> None:
            nonlocal read
            read += size
            pause(size)

        for name, expected in manifest.files.items():
            found = _content(Path(name), count)
            if found != expected:
                yield FileDifference("missing" if found is None else "changed", name)
            if read >= OFTEN:
                read = 0
                yield from (new := set(self.loaded(manifest)) - strange)
                strange |= new

    def manifest(self) -> Manifest | FileDifference:
        """Return the manifest, or what is wrong with it."""
        try:
            data = _bounded(self._path)
            signature = _bounded(self._path.with_name(self._path.name + SIGNATURE))
            return parse_manifest(data, signature, self._key)
        except OSError:
            return FileDifference("missing", str(self._path))
        except V2GError as error:
            kind: Kind = "unsigned" if isinstance(error, SignatureError) else "changed"
            return FileDifference(kind, str(self._path))

    def loaded(self, manifest: Manifest) -> Iterator[FileDifference]:
        """Yield modules and shared libraries of this process that are neither listed nor of the system."""
        real = functools.cache(os.path.realpath)  # of folders: most files have one of few
        for name in loaded_files() - self._accepted:
            place, base = os.path.split(name)
            link = os.path.join(real(place), base)  # noqa: PTH118 - Debian's sitecustomize is a link to /etc
            path = os.path.realpath(link) if os.path.islink(link) else link  # noqa: PTH114 - thousands of them
            ours = any(_below_it(each, folder) is not None for each in (path, link) for folder in manifest.folders)
            if path in manifest.files or (not ours and any(_is_of(each, manifest.system) for each in (path, link))):
                self._accepted.add(name)
            else:
                yield FileDifference("extra", name)


def loaded_files() -> set[str]:
    """Return the files of all modules, and the shared libraries that this process has mapped."""
    found = set()
    for module in tuple(sys.modules.values()):
        name = getattr(module, "__dict__", {}).get("__file__")  # a lazy module must not be loaded by this
        if isinstance(name, str) and name.startswith("/"):
            found.add(name)
    with contextlib.suppress(OSError):  # no Linux
        found |= {each for each in _mapped("self") if ".so" in each}
    return found


def _mapped(process: str) -> set[str]:
    """Return the files that a process has mapped as code. Raises OSError."""
    found = set()
    for line in Path(f"/proc/{process}/maps").read_text(errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].startswith("/"):
            found.add(fields[5].removesuffix(" (deleted)"))  # an update of the system replaces its libraries
    return found


def measure(
    manifest: Path, key: PublicKey, process: int | None = None, pause: Pause = lambda _read: None
) -> MeasuredReport:
    """Return how the disk differs from a manifest, and what a process (None: this one) has mapped as code.

    Raises StoreError if there is no manifest, or no such process.
    """
    try:
        digest = hashlib.sha256(_bounded(manifest)).hexdigest()
        mapped = _mapped("self" if process is None else str(process))
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from None
    differences = Attestation(manifest, key).differences(0, pause)
    return MeasuredReport(
        manifest=digest,
        differences=tuple((each.kind, printable(each.path)) for each in differences),
        mapped={printable(each): _content(Path(each), pause) or "" for each in sorted(mapped)},
    )


def _below_it(path: str, folder: str) -> str | None:
    """Return a path relative to a folder that has it, else None."""
    start = folder.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else None


def _is_of(path: str, system: Iterable[str]) -> bool:
    """Return whether a file is one of these folders' own; what was installed into an interpreter's library is not."""
    inside = (_below_it(path, folder) for folder in system)
    return any(rest is not None and _ADDED.isdisjoint(rest.split("/")) for rest in inside)


def _below(folder: Path) -> Iterator[Path]:
    """Yield all files and links below a folder; nothing if there is none."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place, name) for name in sorted(files))
        yield from (path for name in sorted(folders) if (path := Path(place, name)).is_symlink())


def _content(path: Path, pause: Pause) -> str | None:
    """Return the SHA-256 of a file or the target of a link; None if there is neither, or it cannot be read."""
    try:
        if path.is_symlink():
            return LINK + str(path.readlink())
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)  # a pipe must not stop this
        with os.fdopen(handle, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            digest = hashlib.sha256()
            while block := file.read(BLOCK):
                digest.update(block)
                pause(len(block))
            return digest.hexdigest()
    except OSError:
        return None


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES)
