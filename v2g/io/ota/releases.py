"""Images that a repository of releases lists: downloaded whole, or as the difference to the one that runs (R134, R140).

Everything is checked against the repository before it is read, while it is read (its length), and as a whole (its
SHA-256). A download that broke is continued where it broke.
"""

import fcntl
import hashlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote, urlsplit

import msgspec

from v2g import typed_json
from v2g.errors import InstallError, TransferError
from v2g.io.http.cancel import Cancel
from v2g.io.storage.journal_file import sync_directory
from v2g.observe import Observe
from v2g.ota.release import Release, RepositoryConfig, check_release, patch_name
from v2g.pki.keys import save_secret

PART: Final = ".release."
"""Prefix of incomplete downloads; the first half of their SHA-256 follows."""

_RELEASE: Final = "release.json"
"""What the repository says of the downloaded image."""

_PIECE: Final = 1 << 20

_INSTALLED: Final = "installed.json"
"""The highest number of a release that was confirmed here."""

_RUNS: Final = "runs.json"
"""What the repository says of that release; what an earlier version of the program confirmed has none."""


class Releases:
    """The repository as one charger sees it. Blocking, for a thread; all methods raise InstallError and OSError."""

    def __init__(
        self,
        config: RepositoryConfig,
        folder: Callable[[], Path],
        context: Callable[[], ssl.SSLContext],
        running: Callable[[], Path | None],
        observe: Callable[[Observe], None],
    ) -> None:
        """`running` returns a file that begins with the image that runs, if there is one."""
        self._config, self._folder, self._context = config, folder, context
        self._running, self._observe = running, observe

    def fetch(self, url: str, image: Path, cancel: Cancel, most_s: float) -> bytes:
        """Download the image of a URL, durably; return its SHA-256.

        Raises InstallError if it may not be installed here, TransferError if the link failed: another call goes on.
        """
        from v2g.io.ota.trusted import TrustedReleases  # with python-tuf, which is rarely needed

        config = self._config
        repository = TrustedReleases(config.root, config.url, self._folder() / "releases", self._context)
        name, installed = unquote(urlsplit(url).path).rpartition("/")[2], self._installed()
        release, patch = repository.find(name), repository.also(patch_name(name, installed))
        check_release(release, config.hardware, installed)
        part = self._patched(release, patch, cancel, most_s) if patch is not None else None
        if part is None:
            part = self._whole(release, url, cancel, most_s)
        cancel.check()
        save_secret(image.with_name(_RELEASE), msgspec.json.encode(release))
        part.replace(image)
        sync_directory(image.parent)
        return release.digest

    def newest(self) -> Release | None:
        """Return the newest release for this hardware, None if nothing is newer than what has run here.

        Raises as `fetch`.
        """
        from v2g.io.ota.trusted import TrustedReleases

        config, installed = self._config, self._installed()
        repository = TrustedReleases(config.root, config.url, self._folder() / "releases", self._context)
        fitting = [each for each in repository.every() if config.hardware in each.facts.hardware]
        newest = max(fitting, key=lambda each: each.facts.number, default=None)
        return None if newest is None or newest.facts.number <= installed else newest

    def check(self, digest: bytes) -> None:
        """Raise InstallError unless the downloaded image may still be installed here."""
        release = self._kept(_RELEASE)
        if release is None or release.digest != digest:
            raise InstallError("the image was not compared with the repository", verification=True)
        check_release(release, self._config.hardware, self._installed())

    def keep_installed(self) -> None:
        """Note durably that the downloaded release has run here: nothing older comes after it."""
        release = self._kept(_RELEASE)
        if release is None:
            return
        try:
            save_secret(self._folder() / _RUNS, msgspec.json.encode(release))
            save_secret(self._folder() / _INSTALLED, msgspec.json.encode(max(release.facts.number, self._installed())))
        except (InstallError, OSError) as error:  # the firmware runs; the repository's metadata cannot go back either
            self._observe(Observe("firmware", "step_failed", {"error": str(error)[:200]}))

    def installed(self) -> tuple[str, int]:
        """Return name and number of the newest release that has run here; the name is empty where nobody knows it.

        Raises InstallError.
        """
        number, release = self._installed(), self._kept(_RUNS)
        return "" if release is None or release.facts.number != number else release.name, number

    # -- files

    def _patched(self, release: Release, patch: Release, cancel: Cancel, most_s: float) -> Path | None:
        """Return the image as the patched one that runs; None where that fails: then it is read as a whole.

        Raises TransferError if the link failed: another call goes on with the patch.
        """
        old, origin = self._running(), patch.facts.patch_of
        if old is None or origin is None or _digest_of(old, origin.length) != origin.digest:
            return None
        try:
            from detools import Error, apply_patch
        except ModuleNotFoundError:  # of the extra `patches`
            return None
        made = self._folder() / f"{PART}made"
        try:
            read = self._whole(patch, f"{self._config.url}/targets/{patch.name}", cancel, most_s)
            with old.open("rb") as before, read.open("rb") as difference, made.open("wb") as after:
                apply_patch(before, difference, _Limited(after, release.length))
                after.flush()
                os.fsync(after.fileno())
            _compare(made, release)
        except TransferError as error:
            if not error.lasting and not error.status:
                raise
            self._observe(Observe("firmware", "patch_failed", {"error": str(error)[:200]}))
        except (Error, InstallError, OSError, ValueError, EOFError) as error:
            self._observe(Observe("firmware", "patch_failed", {"error": str(error)[:200]}))
        else:
            read.unlink()
            return made
        return None

    def _whole(self, release: Release, url: str, cancel: Cancel, most_s: float) -> Path:
        """Download a listed file, from where it broke."""
        from v2g.io.http.files import download  # loads the HTTP client, which is rarely needed

        context = self._context() if url.startswith("https:") else None
        part = self._folder() / f"{PART}{release.digest.hex()[:32]}"
        for other in self._folder().glob(f"{PART}*"):
            if other != part:
                other.unlink(missing_ok=True)
        with part.open("ab") as into:
            fcntl.flock(into, fcntl.LOCK_EX)  # of a cancelled download, which ends at its next piece
            size = into.tell()
            if size < release.length:
                try:
                    download(url, into, most=release.length, most_s=most_s, context=context, cancel=cancel, start=size)
                except TransferError as error:
                    if error.failure != "too_large":
                        raise
                    part.unlink()
                    raise InstallError(f"{release.name} is larger than released", verification=True) from None
            into.flush()
            os.fsync(into.fileno())
        try:
            _compare(part, release)
        except InstallError:
            part.unlink()
            raise
        return part

    def _kept(self, name: str) -> Release | None:
        try:
            return typed_json.decode((self._folder() / name).read_bytes(), Release)
        except (OSError, msgspec.DecodeError):
            return None

    def _installed(self) -> int:
        """Return the highest number that has run here."""
        path = self._folder() / _INSTALLED
        try:
            return max(self._config.number, typed_json.decode(path.read_bytes(), int))
        except FileNotFoundError:
            return self._config.number
        except (OSError, msgspec.DecodeError) as error:
            raise InstallError(f"{path} has to have the number of the release that runs: {error}") from None


class _Limited:
    """Takes as much as an image has, whatever a patch writes."""

    def __init__(self, into: IO[bytes], most: int) -> None:
        self._into, self._left = into, most

    def write(self, data: bytes) -> int:
        """Write it. Raises InstallError beyond the limit."""
        self._left -= len(data)
        if self._left < 0:
            raise InstallError("the patch makes more than the image")
        return self._into.write(data)


def _compare(file: Path, release: Release) -> None:
    """Raise InstallError unless a file is what was released."""
    if file.stat().st_size != release.length or _digest_of(file, release.length) != release.digest.hex():
        raise InstallError(f"this is not the file that is released as {release.name}", verification=True)


def _digest_of(file: Path, length: int) -> str:
    """Return the SHA-256 of the first octets of a file, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as read:
        while length > 0 and (piece := read.read(min(length, _PIECE))):
            digest.update(piece)
            length -= len(piece)
    return digest.hexdigest()
