"""Retention of settlement bundles: delivered ones are removed, the oldest first.

A bundle is evidence. One that has not been delivered stays, however full the folder is, unless the configuration
sets an age for its removal. All disk access is in a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.config import Days
from v2g.energy.settlement.bundle import MANIFEST, Manifest
from v2g.errors import StoreError
from v2g.io.runtime.clock import wall_ns
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.growing_file import MIB
from v2g.io.storage.journal_file import remove_folder
from v2g.io.storage.record_keys import RecordKeys, read_sealed
from v2g.observe import Observe, Scalar
from v2g.units import DAY_S

YOUNG_S: Final = 3600
"""Bundles this young stay: the end of the transaction may still be waiting for the meter's signatures in them."""

INTERVAL_S: Final = 3600.0
"""Interval of checks, real seconds."""

_FIRST_S: Final = 60.0  # does not slow down the start
_GOING: Final = "."  # prefix of folders that are being removed


class RetentionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Retention of data of ended sessions, for all EVSEs.

    A bundle is delivered once the back end has accepted every line of its journal. Rejected journals, and those never
    requested by a back end, stay.
    """

    max_mib: Annotated[int, Meta(ge=1, le=1_048_576)] | None = 1024
    """Size on the disk above which delivered bundles are removed, the oldest first, MiB; none: no limit."""
    delivered_days: Days | None = None
    """Age at which a delivered bundle is removed in any case, days; none: never."""
    all_days: Days | None = None
    """Age at which a bundle is removed even if not delivered, days; none: never."""


class Bundle(msgspec.Struct, frozen=True):
    """A bundle in the folder: its session, its age (s) and its size (bytes on the disk)."""

    session_id: str
    path: Path
    age_s: float
    size: int


Reason = Literal["size", "age"]


def choose(
    bundles: Iterable[Bundle], config: RetentionConfig, delivered: Callable[[Bundle], bool]
) -> Iterator[tuple[Bundle, Reason]]:
    """Yield removable bundles and why, oldest first; `delivered` is called only if it matters."""
    oldest_first = sorted(bundles, key=lambda each: each.age_s, reverse=True)
    total = sum(each.size for each in oldest_first)
    for bundle in oldest_first:
        if bundle.age_s < YOUNG_S:
            return
        reason: Reason | None = None
        if _is_older(bundle, config.all_days):
            reason = "age"
        elif _is_older(bundle, config.delivered_days):
            reason = "age" if delivered(bundle) else None
        elif config.max_mib is not None and total > config.max_mib * MIB:
            reason = "size" if delivered(bundle) else None
        if reason is not None:
            total -= bundle.size
            yield bundle, reason


def _is_older(bundle: Bundle, days: int | None) -> bool:
    return days is not None and bundle.age_s > days * DAY_S


Taken = Callable[[], Awaitable[Mapping[str, int]]]
"""Returns how many lines of each session's journal the back end has accepted without a gap."""

Forget = Callable[[Sequence[str]], Awaitable[None]]
"""Called with sessions whose delivery state is no longer needed."""


class BundleRetention:
    """Removes bundles of all EVSEs; `folders` contain them, perhaps sealed with `keys`."""

    def __init__(
        self,
        config: RetentionConfig,
        folders: Sequence[Path],
        disk: DiskThread,
        observe: Callable[[Observe], None],
        *,
        taken: Taken,
        forget: Forget,
        keys: RecordKeys | None = None,
    ) -> None:
        self._config, self._folders, self._disk, self._observe = config, folders, disk, observe
        self._keys = keys
        self._taken, self._forget = taken, forget
        self._full = False

    async def run(self) -> None:
        """Remove bundles at intervals, until cancelled."""
        await asyncio.sleep(_FIRST_S)
        while True:
            await self.let_go()
            await asyncio.sleep(INTERVAL_S)

    async def let_go(self) -> None:
        """Remove all removable bundles, one at a time, and report them. Raises StoreError if the disk fails."""
        taken = await self._taken()
        bundles = await self._disk.ask(partial(_find, self._folders))
        chosen = await self._disk.ask(lambda: list(choose(bundles, self._config, lambda each: self._has(taken, each))))
        gone = set()
        for bundle, reason in chosen:
            await self._disk.ask(partial(remove_folder, bundle.path, bundle.path.with_name(_GOING + bundle.session_id)))
            gone.add(bundle.session_id)
            data: dict[str, Scalar] = {"session_id": bundle.session_id, "reason": reason, "kib": bundle.size // 1024}
            self._observe(Observe("settlement", "bundle_removed", data))
        if gone:
            await self._forget(sorted(gone))
        self._tell_full(sum(each.size for each in bundles if each.session_id not in gone), len(bundles) - len(gone))

    def _has(self, taken: Mapping[str, int], bundle: Bundle) -> bool:
        """Return whether the back end has every line of a bundle's journal."""
        lines = taken.get(bundle.session_id)
        if lines is None:
            return False
        try:
            manifest = typed_json.decode(read_sealed(bundle.path / MANIFEST, self._keys), Manifest)
        except (OSError, StoreError, msgspec.MsgspecError):  # an unreadable bundle must not be removed unnoticed
            return False
        return lines >= manifest.journal_entries

    def _tell_full(self, size: int, bundles: int) -> None:
        """Report once that bundles exceed their limit although the rest is undelivered."""
        most = self._config.max_mib
        full = most is not None and size > most * MIB
        if full and not self._full:
            self._observe(Observe("settlement", "bundles_too_large", {"mib": size // MIB, "bundles": bundles}))
        self._full = full


def _find(folders: Sequence[Path]) -> list[Bundle]:
    """Return every bundle; complete removals that an earlier run began."""
    found, now_s = [], wall_ns() / 1e9
    try:
        for folder in folders:
            for path in folder.iterdir():
                if path.name.startswith(_GOING):
                    remove_folder(path, path)
                elif path.is_dir():
                    size = sum(each.stat().st_blocks * 512 for each in path.iterdir())
                    found.append(Bundle(path.name, path, now_s - path.stat().st_mtime, size))
    except OSError as error:
        raise StoreError(f"{error.filename}: {error.strerror}") from None
    return found
