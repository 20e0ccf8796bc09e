"""A vehicle's offer to discharge, with prices (EVEnergyOffer of ISO 15118-20, evEnergyOffer of OCPP 2.1)."""

import msgspec


class OfferedPower(msgspec.Struct, frozen=True):
    """Offered discharging power, W as a magnitude, for a number of seconds."""

    duration_s: int
    power_w: int


class AskedPrice(msgspec.Struct, frozen=True):
    """Micro-units of the currency per kWh from a power (W, a magnitude) upwards."""

    from_w: int
    micro_per_kwh: int


class AskedPrices(msgspec.Struct, frozen=True):
    """The prices for a number of seconds, by rising power."""

    duration_s: int
    rules: tuple[AskedPrice, ...]


class EnergyOffer(msgspec.Struct, frozen=True):
    """Power and price over time, each from its own start (s since 1970 in UTC)."""

    power_from_s: int
    powers: tuple[OfferedPower, ...]
    price_from_s: int
    currency: str
    algorithm: str
    """Identifier of the price algorithm."""
    prices: tuple[AskedPrices, ...]
