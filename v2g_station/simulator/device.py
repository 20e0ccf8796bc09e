"""The machine of a simulated station: the charger's own parts, with slots in memory."""

import asyncio
import hashlib
import re
import ssl
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from v2g.errors import InstallError
from v2g.iso15118.engine.session import Fact
from v2g.observe import Observe
from v2g.ocpp.messages.security import CertificateSigningUse
from v2g.pki.reference import KeyReference
from v2g_station.blocks.security.certificate_store import RootsChanged, StoredCertificate
from v2g_station.blocks.security.signing import UseCertificate
from v2g_station.blocks.settings import MOST_VERSION
from v2g_station.device.certificates import CertificateFiles, Own, root_file
from v2g_station.device.device import StationMachine, web_context
from v2g_station.device.display import DisplayConfig, StationDisplay
from v2g_station.device.firmware import FirmwareDevice, UpdateConfig
from v2g_station.device.firmware_publisher import PublishConfig, Publisher
from v2g_station.device.logs import LogsConfig, LogSources, LogUploads
from v2g_station.kernel.kernel import StationCommand

USES: Final[tuple[CertificateSigningUse, ...]] = ("ChargingStationCertificate", "V2GCertificate")

IN_MEMORY: Final = UpdateConfig(slots=Path(), window="00:00-00:00")
"""How simulated stations install firmware: in memory, at any time, and without a repository of releases."""

DELIVERED: Final = "0.1.0"
"""The initial firmware version of a simulated station."""


def version_of(image: bytes) -> str:
    """Return the version of an image: its first line if suitable, else the start of its SHA-256."""
    first = image.partition(b"\n")[0].strip()
    if 0 < len(first) <= MOST_VERSION and first.isascii() and first.decode("ascii").isprintable():
        return first.decode("ascii")
    return hashlib.sha256(image).hexdigest()[:16]


CRASHES: Final = re.compile(rb"[^\n]*\ncrashes ([0-9]{1,4})(?: at ([0-9]{1,3}) %)?\s*\Z")


def crash_of(image: bytes, identity: str) -> int | None:
    """Return after how many seconds firmware crashes, each time, at a station: that of an image with the second line
    `crashes 5`; with `crashes 5 at 3 %` at so many of the stations, the same ones for the same image."""
    found = CRASHES.match(image[:200])
    if found is None:
        return None
    lot = int.from_bytes(hashlib.sha256(image[:200] + identity.encode()).digest()[:4]) % 100
    return int(found[1]) if lot < int(found[2] or "100") else None


class SimulatedInstaller:
    """Two slots and a boot loader in memory. See Installer; `restart` restarts the station, followed by `boot`."""

    def __init__(self, identity: str, restart: Callable[[], None]) -> None:
        self._identity, self._restart = identity, restart
        self._versions = {"a": DELIVERED}
        self._crashes: dict[str, int | None] = {}
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

    @property
    def crashes_after_s(self) -> int | None:
        """After how many seconds the running firmware crashes; None: it does not."""
        return self._crashes.get(self._running)

    async def running(self) -> str:
        return self._running

    async def install(self, image: Path) -> None:
        content = await asyncio.to_thread(image.read_bytes)
        if not content:
            raise InstallError("the image is empty", verification=True)
        other = "b" if self._running == "a" else "a"
        self._versions[other], self._crashes[other] = version_of(content), crash_of(content, self._identity)
        self._written = True

    async def activate(self) -> None:
        if self._written:
            self._once = "b" if self._running == "a" else "a"
        self._restart()

    async def confirm(self) -> None:
        self._active = self._running

    async def roll_back(self) -> None:
        self._once = None
        self._restart()

    def image(self) -> Path | None:
        return None

    def back(self) -> tuple[tuple[str, ...], ...]:
        return ()


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
        roots: tuple[StoredCertificate, ...] = (),
        update: UpdateConfig = IN_MEMORY,
    ) -> None:
        """`ca`: root of file servers; `roots`: delivered with the station; `update`: what it installs, and when."""
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.installer = SimulatedInstaller(identity, restart)

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

        def trusted() -> tuple[Path, ...]:
            installed = root_file(folder(), "CSMSRootCertificate")
            found = (ca, installed if installed.exists() and installed.stat().st_size else None)
            return tuple(each for each in found if each is not None)

        context = web_context(trusted)
        self._folder, self._roots = folder, roots
        self._changed = store is not None
        """Whether the CSMS may have changed roots or certificates."""

        self.parts = StationMachine(
            logs=LogUploads(LogsConfig(most_mib=1), folder, LogSources(), notify=notify, context=context),
            firmware=FirmwareDevice(
                update, folder, self.installer, notify=notify, accepted=accepted, context=context, observe=observe
            ),
            publisher=Publisher(PublishConfig(address="127.0.0.1", port=0), folder, notify=notify, context=context),
            certificates=CertificateFiles(folder, own, notify=notify, observe=observe),
            display=StationDisplay(DisplayConfig(), observe),
        )

    def carry_out(self, command: StationCommand) -> None:
        """Begin to carry out a command. Files that a whole fleet would begin with are not written."""
        if isinstance(command, RootsChanged) and not self._changed:
            if command.pem == tuple(each.pem for each in self._roots if each.use == command.use):
                return
            self._changed = True
        self._changed = self._changed or isinstance(command, UseCertificate)
        self.parts.carry_out(command)

    def csms_context(self, delivered: ssl.SSLContext | None) -> ssl.SSLContext:
        """Return the TLS context for the CSMS: the delivered one, with the roots and the certificate set since then."""
        if delivered is not None and not self._changed:
            return delivered
        context = delivered or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if delivered is None:
            context.minimum_version = ssl.TLSVersion.TLSv1_2  # A00.FR.313
        roots = root_file(self._folder(), "CSMSRootCertificate")
        chain, key = (self._folder() / f"{USES[0]}.{each}" for each in ("pem", "key"))
        if roots.exists() and roots.stat().st_size:
            context.load_verify_locations(roots)
        if chain.exists():
            context.load_cert_chain(chain, key)
        return context

    async def close(self) -> None:
        """Cancel what is in progress, and discard the machine."""
        await self.parts.close()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None
