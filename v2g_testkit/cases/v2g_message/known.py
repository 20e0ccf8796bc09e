"""The reference vehicle's knowledge of a session of ISO 15118-2 or DIN 70121."""

from typing import Any

from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine.physical_values import millivolts
from v2g.iso15118.engine.session import NO_SESSION


class MessageKnown:
    """The memory of one vehicle; a second connection of the same case continues it."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.begin()
        self.earlier_ids: list[bytes] = []

    def begin(self) -> None:
        """Discard the state of one session."""
        self.session_id = NO_SESSION
        self.payments: tuple[str, ...] = ()
        self.modes: tuple[str, ...] = ()
        self.charge_service = 1
        self.added: tuple[int, ...] = ()
        self.discovered = False
        self.challenge = bytes(16)
        self.schedules: Any = None
        self.voltage = 0.0
        self.pre_charged = False
        self.meter: Any = None
        self.evse_id: str | None = None
        """That of SessionSetupRes, where the loop repeats it (ISO 15118-2)."""
        self.parameters: Element | None = None
        """EVSEChargeParameter."""

    def hear(self, response: Any) -> None:
        """Store the data of a response that later requests need."""
        name = type(response).__name__
        self.pre_charged = name == "PreChargeRes"
        match name:
            case "ServiceDiscoveryRes":
                # store the offer, which the editions word differently
                self.discovered = True
                service = response.charge_service
                tag = getattr(service, "service_tag", service)
                self.charge_service = tag.service_id
                options = getattr(response, "payment_option_list", None) or response.payment_options
                self.payments = tuple(each.name for each in options.payment_option)
                modes = getattr(service, "supported_energy_transfer_mode", None)
                offered = modes.energy_transfer_mode if modes is not None else (service.energy_transfer_type,)
                self.modes = tuple(each.value for each in offered)
                services = response.service_list.service if response.service_list is not None else ()
                self.added = tuple(getattr(each, "service_tag", each).service_id for each in services)
            case "SessionSetupRes" if isinstance(response.evse_id, str):
                self.evse_id = response.evse_id
            case "PaymentDetailsRes":
                self.challenge = response.gen_challenge
            case "ChargeParameterDiscoveryRes" if response.sa_schedules is not None:
                self.schedules = response.sa_schedules
        self.parameters = getattr(response, "evse_charge_parameter", None) or self.parameters
        voltage = getattr(response, "evse_present_voltage", None)
        if voltage is not None:
            self.voltage = millivolts(voltage) / 1000
        self.meter = getattr(response, "meter_info", None) or self.meter

    @property
    def mode(self) -> str | None:
        """The offered energy transfer mode of the family, None without one."""
        return next((each for each in self.modes if each.startswith(self.family.value)), None)

    @property
    def energy_wh(self) -> int | None:
        """The meter's count, Wh; None if the charger does not report it."""
        return None if self.meter is None else self.meter.meter_reading
