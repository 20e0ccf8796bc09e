"""Non-standard messages between CSMS and station (functional block P)."""

import msgspec

from v2g.energy.grid_signal import ExportSignal, PriceSignal, parse_grid_signal
from v2g.errors import CodecError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g_station.kernel.kernel import Command, Handler, Kernel, status_info

"""vendorId of this project's DataTransfer messages: `GridSignal` to the station, `JournalEntries` from it."""


class GridSignalReceived(Command, frozen=True, kw_only=True):
    """A grid signal forwarded by the CSMS: prices, and in OCPP 2.0.1 also limits of the feed-in.

    All other limits come as charging profiles.
    """

    signal: PriceSignal


class DataTransfer:
    """Handles DataTransfer requests of the CSMS."""

    def __init__(self, kernel: Kernel) -> None:
        self._k = kernel
        self.answers: dict[str, Handler] = {"DataTransfer": self._transfer}

    def _transfer(self, request: DataTransferRequest) -> Message:
        """P01: the grid signal, as a JSON object or as JSON text."""
        if request.vendor_id != VENDOR:
            return DataTransferResponse(status="UnknownVendorId")
        if request.message_id != "GridSignal":
            return DataTransferResponse(status="UnknownMessageId")
        data = request.data.encode() if isinstance(request.data, str) else msgspec.json.encode(request.data)
        try:
            signal = parse_grid_signal(data, ExportSignal if self._k.version == "2.0.1" else PriceSignal)
        except CodecError as error:
            return DataTransferResponse(status="Rejected", status_info=status_info("InvalidValue", str(error)[:512]))
        self._k.do(GridSignalReceived(signal=signal))
        return DataTransferResponse(status="Accepted")
