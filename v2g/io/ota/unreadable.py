"""New firmware on trial that cannot read its configuration goes back before the program ends (R135).

The configuration says where the slots are. So what it says of them is read by itself, whatever else is wrong with it.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from v2g import typed_json
from v2g.config import Table, parse_tree, without_flaw
from v2g.errors import ConfigError, V2GError
from v2g.io.ota.opening import InstallerConfig, open_installer
from v2g.io.runtime.program import read_config
from v2g.io.storage.journal_file import write_files
from v2g.typed_json import Fields

Config = TypeVar("Config")

_log = logging.getLogger("v2g")

Place = Callable[[Fields], tuple[Fields, Path]]
"""Returns a configuration's table of updates, and the folder of their state; may raise KeyError and TypeError."""


class _Trial(msgspec.Struct, frozen=True):
    """What all programs keep in `update.json`."""

    phase: str
    old: str


def read_or_go_back(path: Path, read: Callable[[str], Config], place: Place, *, phase: str = "trial") -> Config:
    """Return `read(text)` of a program's configuration file.

    Raises ConfigError; before, firmware that is on trial has gone back to the old slot, with `phase` in its state.
    """
    text = read_config(path)
    try:
        return read(text)
    except ConfigError as error:
        try:
            tree = parse_tree(text, str(path))
        except ConfigError:  # the same flaw, which hides whether updates are configured
            raise error from None
        try:
            _go_back(path, tree, place, {"phase": phase, "why": str(error)[:200]})
        except (KeyError, TypeError, FileNotFoundError):  # no updates are configured, or none was begun
            pass
        except (V2GError, OSError, msgspec.MsgspecError) as why:
            _log.error("cannot go back to the old firmware: %s", why)
        raise


def _go_back(path: Path, tree: Fields, place: Place, change: dict[str, object]) -> None:
    update, folder = place(tree)
    state = path.parent / folder / "update.json"
    kept = typed_json.decode(state.read_bytes(), dict[str, object])
    trial = typed_json.convert(kept, _Trial)
    if trial.phase not in ("activating", "activated", "trial"):
        return
    ways = {name: update[name] for name in InstallerConfig.__struct_fields__ if name in update}
    way = without_flaw(Table(ways, path.parent).read(InstallerConfig), "update: ")

    async def go_back() -> None:
        installer = open_installer(way, restart=lambda: None)  # it ends anyway
        if await installer.running() != trial.old:
            _log.error("back to the old firmware: the new one cannot read its configuration")
            write_files(state.parent, {state.name: msgspec.json.encode(kept | change)}, private=True)
            await installer.roll_back()

    asyncio.run(go_back())
