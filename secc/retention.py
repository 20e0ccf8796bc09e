"""What a charger lets go of: settlement bundles of sessions that the back end has, the oldest first.

A bundle is evidence. One whose journal nobody else has stays, however full the folder is, unless the configuration
names an age at which it goes. Everything that touches the disk happens in a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.energy.settlement.bundle import MANIFEST, Manifest
from v2g.errors import StoreError
from v2g.io.runtime.clock import wall_ns
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.growing_file import MIB
from v2g.io.storage.journal_file import remove_folder
from v2g.observe import Observe, Scalar

YOUNG_S: Final = 3600
"""A bundle this young stays: the end of its transaction may still be waiting for the meter's signatures in it."""

INTERVAL_S: Final = 3600.0
"""How often is looked what can go, real seconds."""

_FIRST_S: Final = 60.0  # a charger that starts has better things to do
_DAY_S: Final = 86_400
_GOING: Final = "."  # names of folders that are being removed begin with it

Days = Annotated[int, Meta(ge=1, le=36_500)]


class RetentionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the charger keeps of sessions that have ended, of all its EVSEs.

    A bundle is delivered when the back end has accepted every line of its journal. What was refused, and what a back
    end never asked for, stays.
    """

    max_mib: Annotated[int, Meta(ge=1, le=1_048_576)] | None = 1024
    """Size on the disk from which on delivered bundles are removed, the oldest first, MiB; none lets them grow."""
    delivered_days: Days | None = None
    """Age, in days, at which a delivered bundle is removed in any case; none is never."""
    all_days: Days | None = None
    """Age, in days, at which a bundle is removed though nobody else has it; none is never."""


class Bundle(msgspec.Struct, frozen=True):
    """A bundle in the folder: of which session, how old (s) and how large (bytes on the disk) it is."""

    session_id: str
    path: Path
    age_s: float
    size: int


Reason = Literal["size", "age"]


def choose(
    bundles: Iterable[Bundle], config: RetentionConfig, delivered: Callable[[Bundle], bool]
) -> Iterator[tuple[Bundle, Reason]]:
    """Yield what may go and why, oldest first; `delivered` is asked only of those for which it matters."""
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
    return days is not None and bundle.age_s > days * _DAY_S


Taken = Callable[[], Awaitable[Mapping[str, int]]]
"""Tells how many lines of each session's journal the back end has accepted without a gap."""

Forget = Callable[[Sequence[str]], Awaitable[None]]
"""Is told of sessions about which nobody will ask any more."""


class Retention:
    """Looks after the bundles of every EVSE; `folders` are where they are."""

    def __init__(
        self,
        config: RetentionConfig,
        folders: Sequence[Path],
        disk: DiskThread,
        observe: Callable[[Observe], None],
        *,
        taken: Taken,
        forget: Forget,
    ) -> None:
        self._config, self._folders, self._disk, self._observe = config, folders, disk, observe
        self._taken, self._forget = taken, forget
        self._full = False

    async def run(self) -> None:
        """Let go of what may go, now and then, until cancelled."""
        await asyncio.sleep(_FIRST_S)
        while True:
            await self.let_go()
            await asyncio.sleep(INTERVAL_S)

    async def let_go(self) -> None:
        """Remove what may go, one after the other, and tell. Raises StoreError for a disk that does not do it."""
        taken = await self._taken()
        bundles = await self._disk.ask(partial(_find, self._folders))
        chosen = await self._disk.ask(lambda: list(choose(bundles, self._config, lambda each: _has(taken, each))))
        gone = set()
        for bundle, reason in chosen:
            await self._disk.ask(partial(remove_folder, bundle.path, bundle.path.with_name(_GOING + bundle.session_id)))
            gone.add(bundle.session_id)
            data: dict[str, Scalar] = {"session_id": bundle.session_id, "reason": reason, "kib": bundle.size // 1024}
            self._observe(Observe("settlement", "bundle_removed", data))
        if gone:
            await self._forget(sorted(gone))
        self._tell_full(sum(each.size for each in bundles if each.session_id not in gone), len(bundles) - len(gone))

    def _tell_full(self, size: int, bundles: int) -> None:
        """Tell once that there is more than there should be: nobody else has it."""
        most = self._config.max_mib
        full = most is not None and size > most * MIB
        if full and not self._full:
            self._observe(Observe("settlement", "bundles_too_large", {"mib": size // MIB, "bundles": bundles}))
        self._full = full


def _has(taken: Mapping[str, int], bundle: Bundle) -> bool:
    """Say whether the back end has every line of a bundle's journal."""
    lines = taken.get(bundle.session_id)
    if lines is None:
        return False
    try:
        manifest = typed_json.decode((bundle.path / MANIFEST).read_bytes(), Manifest)
    except (OSError, msgspec.MsgspecError):  # what cannot be read is nothing to be removed in silence
        return False
    return lines >= manifest.journal_entries


def _find(folders: Sequence[Path]) -> list[Bundle]:
    """Return every bundle; what an earlier run began to remove is removed."""
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
