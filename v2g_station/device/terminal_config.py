"""Configuration of a payment terminal at the charger."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from v2g.io.hardware.zvt_config import ZvtConfig
from v2g_station.kernel.layout import TerminalLayout


class TerminalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payment terminal at the charger, and its variables for the CSMS (PaymentCtrlr)."""

    backend: Literal["zvt"] = "zvt"
    """Protocol of the terminal."""
    zvt: ZvtConfig
    """Connection of a terminal with ZVT."""
    evse: Annotated[int, Meta(ge=1, le=64)] | None = None
    """The only EVSE that it serves; unset for all."""
    currency_digits: Annotated[int, Meta(ge=0, le=4)] = 2
    """Number of decimal places of an amount."""
    rest_s: Annotated[float, Meta(ge=0, le=120)] = 10.0
    """How long after a payment no card is read: the card just used, if still present, would end its own transaction."""
    terminal_id: Annotated[str, Meta(max_length=50)] = ""
    """Id of the terminal at its provider."""
    provider: Annotated[str, Meta(max_length=50)] = ""
    """The payment service provider."""
    vendor: Annotated[str, Meta(max_length=50)] = ""
    """Manufacturer of the terminal."""
    model: Annotated[str, Meta(max_length=50)] = ""
    """Its model."""

    @property
    def layout(self) -> TerminalLayout:
        """The terminal's layout for the station."""
        from v2g_station.device.terminal_translation import DETAILS  # only a charger with a terminal needs this import

        return TerminalLayout(
            details=DETAILS, terminal_id=self.terminal_id, provider=self.provider, vendor=self.vendor, model=self.model
        )
