"""The computer of a station, as its core uses it: the same parts for the charger and the simulator."""

import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from v2g_station.blocks.cost.local_cost import ShowCost
from v2g_station.blocks.cost.tariffs import ShowTariff
from v2g_station.blocks.diagnostics.diagnostics import CancelUpload, UploadLog
from v2g_station.blocks.display import ShowMessages
from v2g_station.blocks.evse import Indicate
from v2g_station.blocks.firmware import Activate, CancelFirmware, ConfirmInstall, DownloadFirmware, Install
from v2g_station.blocks.firmware_publishing import Publish, Unpublish
from v2g_station.blocks.payment.terminal import ShowReceipt
from v2g_station.blocks.security.certificate_store import RootsChanged
from v2g_station.blocks.security.certificates import KeepStatus
from v2g_station.blocks.security.signing import MakeRequest, UseCertificate
from v2g_station.blocks.smart_charging.smart_charging import Sleep
from v2g_station.blocks.web_payment import ShowQrCode
from v2g_station.device.certificates import CertificateFiles
from v2g_station.device.display import StationDisplay
from v2g_station.device.firmware import FirmwareDevice
from v2g_station.device.firmware_publisher import Publisher
from v2g_station.device.logs import LogUploads
from v2g_station.device.sleeping import Sleeping
from v2g_station.kernel.kernel import StationCommand

if TYPE_CHECKING:
    from v2g_station.device.card_readers import CardReaders
    from v2g_station.device.payment_terminal import PaymentTerminal


class StationMachine(msgspec.Struct):
    """The available parts. A station must not be `able` to do what needs a missing part."""

    logs: LogUploads | None = None
    firmware: FirmwareDevice | None = None
    publisher: Publisher | None = None
    certificates: CertificateFiles | None = None
    display: StationDisplay | None = None
    sleeping: Sleeping | None = None
    terminal: "PaymentTerminal | None" = None
    readers: "CardReaders | None" = None

    @property
    def able(self) -> frozenset[str]:
        """The members of `StationSettings.able` that these parts provide."""
        parts = {
            "logs": self.logs,
            "firmware": self.firmware,
            "publish": self.publisher,
            "certificates": self.certificates,
            "display": self.display,
            "sleep": self.sleeping,
        }
        able = frozenset(name for name, part in parts.items() if part is not None)
        return able | {"web_payments"} if self.display is not None and self.display.draws_codes else able

    def start(self) -> None:
        """Start the parts, in an event loop."""
        if self.firmware is not None:
            self.firmware.start()
        if self.terminal is not None:
            self.terminal.start()
        if self.readers is not None:
            self.readers.start()
        if self.display is not None:
            self.display.start()
        if self.sleeping is not None:
            self.sleeping.start()

    def carry_out(self, command: StationCommand) -> bool:
        """Begin to carry out a command; return False for one that is not this machine's."""
        match command:
            case UploadLog() if self.logs is not None:
                self.logs.start(command)
            case CancelUpload() if self.logs is not None:
                self.logs.cancel(command.request_id)
            case DownloadFirmware() | Install() | Activate() | ConfirmInstall() | CancelFirmware() if (
                self.firmware is not None
            ):
                self.firmware.command(command)
            case Publish() | Unpublish() if self.publisher is not None:
                self.publisher.command(command)
            case RootsChanged() if self.certificates is not None:
                self.certificates.roots(command)
            case MakeRequest() if self.certificates is not None:
                self.certificates.request(command)
            case UseCertificate() if self.certificates is not None:
                self.certificates.use(command)
            case KeepStatus() if self.certificates is not None:
                self.certificates.keep_status(command)
            case Sleep() if self.sleeping is not None:
                self.sleeping.want(command)
            case ShowMessages() if self.display is not None:
                self.display.show(command)
            case ShowQrCode() if self.display is not None:
                self.display.code(command)
            case Indicate() if self.display is not None:
                self.display.notice(command.evse_id, command.word, command.message)
            case ShowTariff() if self.display is not None:
                self.display.tariff(command)
            case ShowCost() if self.display is not None:
                self.display.cost(command)
            case ShowReceipt() if self.display is not None:
                self.display.notice(command.evse_id, "receipt", command.url)
            case _:
                return self.terminal is not None and self.terminal.carry_out(command)
        return True

    async def close(self) -> None:
        """Cancel what is in progress."""
        parts = (
            self.logs,
            self.firmware,
            self.publisher,
            self.certificates,
            self.display,
            self.terminal,
            self.readers,
            self.sleeping,
        )
        for part in parts:
            if part is not None:
                await part.close()


def web_context(roots: Callable[[], Iterable[Path]]) -> Callable[[], ssl.SSLContext]:
    """Return a factory of contexts for file servers: the system's roots and those of the CSMS (N01.FR.15, .16)."""

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context()
        for path in roots():
            context.load_verify_locations(path)
        return context

    return make
