"""Non-standard messages between CSMS and station (functional block P)."""

import re

import msgspec

from v2g.energy.grid_signal import ExportSignal, PriceSignal, parse_grid_signal
from v2g.errors import CodecError
from v2g.ocpp.messages.base import Message
from v2g.ocpp.messages.data_transfer import VENDOR, DataTransferRequest, DataTransferResponse
from v2g_station.kernel.kernel import Handler, Kernel, StationCommand, status_info

"""vendorId of this project's DataTransfer messages: `GridSignal` and `AttestationRequest` to the station,
`JournalEntries` and `AttestationEvidence` from it."""


class GridSignalReceived(StationCommand, frozen=True, kw_only=True):
    """A grid signal forwarded by the CSMS: prices, and in OCPP 2.0.1 also limits of the feed-in.

    All other limits come as charging profiles.
    """

    signal: PriceSignal


class AttestationRequested(StationCommand, frozen=True, kw_only=True):
    """The CSMS asks for evidence that the charger is whole, for its random number (R148)."""

    nonce: bytes


class DataTransfer:
    """Handles DataTransfer requests of the CSMS. `attests`: the charger has a TPM to sign evidence."""

    def __init__(self, kernel: Kernel, *, attests: bool = False) -> None:
        self._k, self._attests = kernel, attests
        self.answers: dict[str, Handler] = {"DataTransfer": self._transfer}

    def _transfer(self, request: DataTransferRequest) -> Message:
        """P01: the grid signal, as a JSON object or as JSON text."""
        if request.vendor_id != VENDOR:
            return DataTransferResponse(status="UnknownVendorId")
        if request.message_id == "AttestationRequest" and self._attests:
            # the evidence follows by a request of the charger: reading all files takes minutes
            nonce = request.data.get("nonce") if isinstance(request.data, dict) else None
            if not isinstance(nonce, str) or not re.fullmatch(r"([0-9a-f]{2}){16,64}", nonce):
                info = status_info("InvalidValue", "nonce: 16 to 64 octets, hexadecimal")
                return DataTransferResponse(status="Rejected", status_info=info)
            self._k.do(AttestationRequested(nonce=bytes.fromhex(nonce)))
            return DataTransferResponse(status="Accepted")
        if request.message_id != "GridSignal":
            return DataTransferResponse(status="UnknownMessageId")
        data = request.data.encode() if isinstance(request.data, str) else msgspec.json.encode(request.data)
        try:
            signal = parse_grid_signal(data, ExportSignal if self._k.version == "2.0.1" else PriceSignal)
        except CodecError as error:
            return DataTransferResponse(status="Rejected", status_info=status_info("InvalidValue", str(error)[:512]))
        self._k.do(GridSignalReceived(signal=signal))
        return DataTransferResponse(status="Accepted")
