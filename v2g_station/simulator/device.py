"""The machine of a simulated station: the charger's own parts, with slots in memory."""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from v2g.errors import InstallError
from v2g.observe import Observe
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.pki.reference import KeyReference
from v2g_station.blocks.evse import Fact
from v2g_station.blocks.settings import MOST_VERSION
from v2g_station.device.certificates import CertificateFiles, Own
from v2g_station.device.device import Machine, web_context
from v2g_station.device.display import Display, DisplayConfig
from v2g_station.device.firmware import Firmware, UpdateConfig
from v2g_station.device.firmware_publisher import PublishConfig, Publisher
from v2g_station.device.logs import LogsConfig, LogSources, LogUploads

USES: Final[tuple[CertificateSigningUse, ...]] = ("ChargingStationCertificate", "V2GCertificate")

DELIVERED: Final = "0.1.0"
"""The initial firmware version of a simulated station."""


def version_of(image: bytes) -> str:
    """Return the version of an image: its first line if suitable, else the start of its SHA-256."""
    first = image.partition(b"\n")[0].strip()
    if 0 < len(first) <= MOST_VERSION and first.isascii() and first.decode("ascii").isprintable():
        return first.decode("ascii")
    return hashlib.sha256(image).hexdigest()[:16]


class SimulatedInstaller:
    """Two slots and a boot loader in memory. See Installer; `restart` restarts the station, followed by `boot`."""

    def __init__(self, restart: Callable[[], None]) -> None:
        self._restart = restart
        self._versions = {"a": DELIVERED}
        self._active = self._running = "a"
        self._once: str | None = None
        self._written = False

    def boot(self) -> None:
        """Start the slot on trial once, else the permanent one."""
        self._running, self._once = self._once or self._active, None

    @property
    def version(self) -> str:
        """The version of the running firmware."""
        return self._versions[self._running]

    async def running(self) -> str:
        """See Installer."""
        return self._running

    async def install(self, image: Path) -> None:
        """See Installer."""
        content = await asyncio.to_thread(image.read_bytes)
        if not content:
            raise InstallError("the image is empty", verification=True)
        self._versions["b" if self._running == "a" else "a"] = version_of(content)
        self._written = True

    async def activate(self) -> None:
        """See Installer."""
        if self._written:
            self._once = "b" if self._running == "a" else "a"
        self._restart()

    async def confirm(self) -> None:
        """See Installer."""
        self._active = self._running

    async def roll_back(self) -> None:
        """See Installer."""
        self._once = None
        self._restart()


class SimulatedMachine:
    """A machine, created on first use, that survives restarts of its station."""

    def __init__(
        self,
        identity: str,
        store: Path | None,
        *,
        notify: Callable[[Fact], None],
        accepted: Callable[[], asyncio.Event],
        restart: Callable[[], None],
        observe: Callable[[Observe], None],
        ca: Path | None = None,
    ) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.installer = SimulatedInstaller(restart)
        context = web_context(lambda: (ca,) if ca is not None else ())

        @cache
        def folder() -> Path:
            if store is None:
                self._temporary = tempfile.TemporaryDirectory(prefix=f"v2g-{identity}-")
                return Path(self._temporary.name)
            made = store / identity
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
            return made

        def own() -> Mapping[CertificateSigningUse, Own]:
            return {use: Own(folder() / f"{use}.pem", KeyReference.of(folder() / f"{use}.key")) for use in USES}

        self.parts = Machine(
            logs=LogUploads(LogsConfig(most_mib=1), folder, LogSources(), notify=notify, context=context),
            firmware=Firmware(
                UpdateConfig(slots=Path(), confirm_s=60.0),
                folder,
                self.installer,
                notify=notify,
                accepted=accepted,
                context=context,
                observe=observe,
            ),
            publisher=Publisher(PublishConfig(address="127.0.0.1", port=0), folder, notify=notify, context=context),
            certificates=CertificateFiles(folder, own, notify=notify, observe=observe),
            display=Display(DisplayConfig(), observe),
        )

    async def close(self) -> None:
        """Cancel what is in progress, and discard the machine."""
        await self.parts.close()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None
