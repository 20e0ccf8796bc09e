"""What a device believes of a repository of releases (TUF 1.0.34, 5: the client's workflow, by python-tuf).

A device starts from a root that its maker installs. It follows changes of the root that the old and the new keys have
signed, and refuses metadata that too few keys have signed, that are older than what it has seen, that have expired, or
that do not belong together. What it has seen is kept in a folder, durable before anything is installed.

Blocking, for a thread.
"""

import contextlib
import io
import os
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from securesystemslib.exceptions import StorageError
from tuf.api import exceptions
from tuf.api.metadata import TOP_LEVEL_ROLE_NAMES, Metadata, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from v2g.errors import InstallError, StoreError, TransferError
from v2g.io.http.files import download
from v2g.io.storage.journal_file import sync_directory, write_files
from v2g.ota.release import Release, read_release
from v2g.text import printable

METADATA_S: Final = 30.0
"""Time limit of one file of metadata: a server that sends slowly freezes nobody for longer."""

_CONFIG: Final = UpdaterConfig(max_root_rotations=256, max_delegations=0, prefix_targets_with_hash=False)
_HTTP: Final = ("http://", "https://")
_SEEN: Final = "latest_time"


class TrustedReleases:
    """The releases of one repository; `place` is an HTTP(S) address, or a path."""

    def __init__(
        self, root: Path, place: str, folder: Path, context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        """`folder` keeps what has been seen."""
        self._root, self._place, self._folder = root, place.rstrip("/"), folder
        self._context = context
        self._updater: Updater | None = None

    def find(self, name: str) -> Release:
        """Return a release, by the newest metadata.

        Raises TransferError if the repository does not answer, InstallError (verification) if it is not to be believed
        or does not list that name, StoreError of the disk.
        """
        self._updater = None
        if (release := self.also(name)) is None:
            raise InstallError(f"the repository does not list {printable(name)}", verification=True)
        return release

    def also(self, name: str) -> Release | None:
        """Return another release by the same metadata, None if they do not list it. Raises as `find`."""
        updater = self._updater = self._updater or self._refreshed()
        target = updater.get_targetinfo(name)
        return None if target is None else read_release(name, target.length, target.hashes, target.custom)

    def every(self) -> list[Release]:
        """Return all images by the newest metadata, without patches. Raises as `find`."""
        self._updater = self._refreshed()
        try:
            listed = Metadata[Targets].from_file(str(self._folder / "targets.json")).signed.targets
        except (exceptions.RepositoryError, StorageError) as error:  # it was verified a moment ago
            raise StoreError(f"{self._folder}: {error}") from None
        found = [read_release(name, each.length, each.hashes, each.custom) for name, each in listed.items()]
        return [each for each in found if each.facts.patch_of is None]

    def _refreshed(self) -> Updater:
        bootstrap = self._first_root()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            updater = Updater(
                str(self._folder),
                f"{self._place}/metadata/",
                fetcher=_Fetcher(self._context),
                config=_CONFIG,
                bootstrap=bootstrap,
            )
            try:
                updater.refresh()
            finally:
                latest = self._latest_time()
            for role in TOP_LEVEL_ROLE_NAMES:
                if Metadata[Any].from_file(str(self._folder / f"{role}.json")).signed.is_expired(latest):
                    raise exceptions.ExpiredMetadataError(f"{role}.json by {latest:%Y-%m-%d %H:%M}, seen before")
            # make durable what has been seen: after a power cut nothing older is believed
            for folder in (self._folder, self._folder / "root_history"):
                for each in folder.glob("*.json"):
                    descriptor = os.open(each, os.O_RDONLY)
                    try:
                        os.fsync(descriptor)
                    finally:
                        os.close(descriptor)
                sync_directory(folder)
        except exceptions.DownloadLengthMismatchError:
            raise InstallError("a file of the repository's metadata is too large", verification=True) from None
        except exceptions.DownloadError as error:
            cause = error.__cause__
            raise cause if isinstance(cause, TransferError) else TransferError(str(error), "unreachable") from None
        except exceptions.RepositoryError as error:
            raise InstallError(_refusal(error), verification=True, hint=_HINT) from None
        except OSError as error:
            raise StoreError(f"{self._folder}: {error.strerror}") from None
        return updater

    def _latest_time(self) -> datetime:
        """Return the latest time that was seen before: with a clock that is set back, what has expired stays so.

        Of the present one, no more is kept than the expiry of the newest timestamp: a clock that was ahead
        harms nothing later.
        """
        now, seen = datetime.now(UTC), datetime.min.replace(tzinfo=UTC)
        with contextlib.suppress(FileNotFoundError, ValueError):
            seen = datetime.fromisoformat((self._folder / _SEEN).read_text())
        with contextlib.suppress(exceptions.RepositoryError, StorageError):  # it has none yet
            stated = Metadata[Timestamp].from_file(str(self._folder / "timestamp.json")).signed.expires
            if (kept := min(now, stated)) > seen:
                write_files(self._folder, {_SEEN: kept.isoformat().encode()}, private=True)
        return seen

    def _first_root(self) -> bytes:
        try:
            with self._root.open("rb") as file:
                return file.read(_CONFIG.root_max_length)
        except OSError as error:
            hint = "the maker's root metadata belong into the firmware"
            raise StoreError(f"{self._root}: {error.strerror}", hint=hint) from None


_HINT: Final = "install nothing from there until its owner has explained it"


def _refusal(error: exceptions.RepositoryError) -> str:
    """Return why a repository is not believed."""
    text = printable(str(error))[:200]
    match error:
        case exceptions.ExpiredMetadataError():
            return f"the repository's metadata have expired, it stands still or is withheld: {text}"
        case exceptions.EqualVersionNumberError() | exceptions.BadVersionNumberError():
            return f"the repository's metadata are older than what was seen before: {text}"
        case exceptions.UnsignedMetadataError():
            return f"too few of the repository's keys have signed: {text}"
        case exceptions.LengthOrHashMismatchError():
            return f"files of the repository's metadata do not belong together: {text}"
    return f"the repository's metadata are malformed: {text}"


class _Fetcher(FetcherInterface):
    """Reads metadata by the project's own HTTP client, or from a folder."""

    def __init__(self, context: Callable[[], ssl.SSLContext] | None) -> None:
        self._context = context

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError("files of limited size are read only")

    def download_bytes(self, url: str, max_length: int) -> bytes:
        if not url.startswith(_HTTP):
            return _read(Path(url), max_length)
        into = io.BytesIO()
        context = self._context() if self._context and url.startswith("https:") else None
        try:
            download(url, into, most=max_length, most_s=METADATA_S, context=context)
        except TransferError as error:
            if error.failure == "too_large":
                raise exceptions.DownloadLengthMismatchError(str(error)) from error
            if error.status in (403, 404):
                raise exceptions.DownloadHTTPError(str(error), error.status) from error
            raise exceptions.DownloadError(str(error)) from error
        return into.getvalue()


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise exceptions.DownloadHTTPError(f"{path} does not exist", 404) from None
    except OSError as error:
        raise exceptions.DownloadError(f"{path}: {error.strerror}") from None
    if len(data) > most:
        raise exceptions.DownloadLengthMismatchError(f"{path} is longer than {most} octets")
    return data
