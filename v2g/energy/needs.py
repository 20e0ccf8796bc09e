"""A vehicle's requests and capabilities for an energy transfer, independent of the protocol."""

from typing import Final, Literal

import msgspec

from v2g.energy.grid_support import Function

# -- A vehicle's offer to discharge, with prices (EVEnergyOffer of ISO 15118-20, evEnergyOffer of OCPP 2.1)


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


DEPARTURE_MS: Final = 60_000
"""Departures within a minute count as equal: vehicles send the remaining time."""

ENERGY_WH: Final = 500
"""Energies that differ by no more than what has flowed and this count as equal."""

Service = Literal[
    "AC", "DC", "WPT", "DC_ACDP", "AC_BPT", "AC_DER_IEC", "AC_DER_SAE", "DC_BPT", "DC_ACDP_BPT", "MCS", "MCS_BPT"
]
"""Energy services of ISO 15118-20."""


class DerNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What a vehicle says of its inverter in AC DER; None if not given."""

    functions: frozenset[Function]
    """Those that it follows: of the selected set (IEC), or declared (SAE)."""
    charge_var: int | None = None
    """Maximum reactive power of all phases while charging, var, a magnitude."""
    discharge_var: int | None = None
    discharge_wh: int | None = None
    """Energy that it can give in this session."""


class EvNeeds(msgspec.Struct, frozen=True, kw_only=True):
    """A vehicle's requests and capabilities; None if not given.

    `service` is ISO 15118-20's name. Power in W of all phases (discharge as magnitude), current mA of one, voltage mV
    (alternating current: between phase and neutral), energy Wh, times UTC.
    """

    service: Service
    control_mode: Literal["scheduled", "dynamic"]
    max_charge_w: int
    max_discharge_w: int = 0
    line_charge_w: tuple[int, ...] = ()
    """Maximum power of L1, L2 and L3, from a vehicle that sends it of more than one (ISO 15118-20)."""
    line_discharge_w: tuple[int, ...] = ()
    min_charge_w: int = 0
    min_discharge_w: int = 0
    max_current_ma: int
    max_voltage_mv: int
    departure_ms: int | None = None
    soc: int | None = None
    target_soc: int | None = None
    target_energy_wh: int | None = None
    max_energy_wh: int | None = None
    min_energy_wh: int | None = None
    min_v2x_energy_wh: int | None = None
    """Below 0: what may be taken out for V2X."""
    needs_by_secc: bool = False
    """Whether the charger sets departure and states of charge (MobilityNeedsMode 2)."""
    offer: EnergyOffer | None = None
    """Energy that the vehicle offers to discharge, and its price."""
    available: tuple[Service, ...] = ()
    """Services that the vehicle could select here."""
    der: DerNeeds | None = None
    older: bool = False
    """Whether the vehicle uses DIN 70121 or ISO 15118-2, which know no control modes."""
    max_points: int | None = None
    """Maximum number of schedule entries, of power or of prices, that it supports."""

    def go_on_from(self, before: "EvNeeds") -> bool:
        """Return whether these needs equal earlier ones after some charging or discharging (K16.FR.09, K20.FR.01).

        All energies have changed by what flowed; what would be below 0 may be sent as 0.
        """
        if (self.service, self.control_mode) != (before.service, before.control_mode):
            return False
        pairs = (
            (before.max_energy_wh, self.max_energy_wh),
            (before.target_energy_wh, self.target_energy_wh),
            (before.min_energy_wh, self.min_energy_wh),
            (before.min_v2x_energy_wh, self.min_v2x_energy_wh),
        )
        if any((old is None) != (new is None) for old, new in pairs):
            return False
        sent = [(old, new) for old, new in pairs if old is not None and new is not None]
        flowed_wh = max(((old or 0) - (new or 0) for old, new in pairs[:2]), key=abs)
        if flowed_wh < -ENERGY_WH and len(sent) == 1:  # no other energy shows that it was discharging
            return False
        for old, new in sent:
            left_wh = old - flowed_wh
            if abs(new - left_wh) > ENERGY_WH and not (new == 0 and left_wh < 0):
                return False
        if before.departure_ms is None or self.departure_ms is None:
            return before.departure_ms is self.departure_ms
        return abs(before.departure_ms - self.departure_ms) < DEPARTURE_MS
