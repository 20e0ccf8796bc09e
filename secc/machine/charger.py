"""The machine of a real charger, from its configuration."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from secc.core.station.evse import Fact
from secc.machine.firmware import Firmware, UpdateConfig
from secc.machine.installer import CommandInstaller, FolderInstaller, Installer
from secc.machine.logs import LogSources, LogUploads
from secc.machine.machine import Machine, web_context
from secc.machine.publisher import Publisher
from secc.station_config import StationConfig
from v2g.observe import Observe


def charger_machine(
    config: StationConfig,
    sources: LogSources,
    *,
    tell: Callable[[Fact], None],
    accepted: Callable[[], asyncio.Event],
    observe: Callable[[Observe], None],
    boot_id: str,
) -> Machine:
    """Return what serves this configuration. Raises OSError for folders that cannot be made."""
    home = config.store.parent
    context = web_context(lambda: (config.tls.ca,) if config.tls is not None else ())
    logs = LogUploads(config.logs, folder_maker(home / "logs"), sources, tell=tell, context=context)
    firmware: Firmware | None = None
    if config.update is not None:
        firmware = Firmware(
            config.update,
            folder_maker(config.update.folder or home / "firmware"),
            _installer(config.update),
            tell=tell,
            accepted=accepted,
            context=context,
            observe=observe,
            boot_id=boot_id,
        )
    publisher: Publisher | None = None
    if config.publish is not None:
        folder = folder_maker(config.publish.folder or home / "published")
        publisher = Publisher(config.publish, folder, tell=tell, context=context)
    return Machine(logs=logs, firmware=firmware, publisher=publisher)


def folder_maker(folder: Path) -> Callable[[], Path]:
    """Return what gives a folder, and makes it where it is not there."""

    def make() -> Path:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    return make


def _installer(config: UpdateConfig) -> Installer:
    if config.commands is not None:
        return CommandInstaller(config.commands)
    assert config.slots is not None
    bench = FolderInstaller(config.slots, restart=lambda: os.kill(os.getpid(), signal.SIGTERM))
    bench.boot()
    return bench
