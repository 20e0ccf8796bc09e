"""The reference vehicle's knowledge of the session, and its credentials."""

from typing import Final

import msgspec

from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.common_types import ChargeLoopRes, MeterInfo, RationalNumber
from v2g.iso15118.d20.services import DER_SCHEMAS, ENERGY_TRANSFER, ServiceId
from v2g.iso15118.engine.session import NO_SESSION
from v2g.pki.keys import SigningKey
from v2g_testkit.cases.quantities import NOISE, amount

DYNAMIC: Final = 2
"""Value of the parameter ControlMode."""

NEAR_V: Final = 20.0
"""Tolerance of the pre-charge voltage (IEC 61851-23), V."""

_DEFAULTS: Final = {
    Family.AC: (ServiceId.AC, ServiceId.AC_BPT),
    Family.DC: (ServiceId.DC, ServiceId.DC_BPT),
    Family.WPT: (ServiceId.WPT, ServiceId.WPT),
    Family.ACDP: (ServiceId.DC_ACDP, ServiceId.DC_ACDP_BPT),
}


class Payer(msgspec.Struct, frozen=True):
    """A contract, or a provisioning certificate: its chain (DER, leaf first, without the root) and its key."""

    chain: tuple[bytes, ...]
    key: SigningKey


class Kit(msgspec.Struct, frozen=True, kw_only=True):
    """The tester's equipment. `contracts` are by name: `good`, and invalid ones such as `expired`."""

    contracts: dict[str, Payer] = {}
    provisioning: dict[str, Payer] = {}
    """Provisioning certificates by name, as `contracts`."""
    roots: tuple[bytes, ...] = ()
    """Roots (DER) that the vehicle trusts, to verify contracts that it receives."""
    pay: str = ""
    """EIM or PnC, if a case leaves it open; default: contract if possible."""
    evcc_id: str = "WMIV2GENGINE0000001X"
    voltage: float = 400.0
    """Voltage requested by a vehicle on direct current, V."""
    current: float = 5.0
    """Current requested by it, A: low, so that any load suffices."""
    phases: int = 3
    """Phases of a vehicle on alternating current, if the charger has as many."""
    without_power: bool = False
    """Whether the charger has no power electronics: it always reports 0 V."""
    sets_pilot: bool = False
    """Whether the tester sets the control pilot."""
    stops: bool = False
    """Whether the session can be ended at the charger, as by its operator."""
    evse_id: str = ""
    """EVSEID that the charger declares, if any."""
    meter_id: str = ""
    """MeterID that it declares, if any."""


class Known:
    """The memory of one vehicle; a second connection of the same case continues it."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.begin()
        self.earlier_ids: list[bytes] = []
        self.earlier_challenges: list[bytes] = []

    def begin(self) -> None:
        """Discard the state of one session."""
        self.session_id = NO_SESSION
        self.bidirectional = False
        self.scheduled = False
        self.phases = 1
        self.setup: cm.AuthorizationSetupRes | None = None
        self.discovery: cm.ServiceDiscoveryRes | None = None
        self.detail: cm.ServiceDetailRes | None = None
        self.service = int(_DEFAULTS[self.family][0])
        self.parameter_set = 0
        self.parameters: Element | None = None
        self.schedule: cm.ScheduleExchangeRes | None = None
        self.meter: MeterInfo | None = None
        self.counted: tuple[int, int] | None = None
        """The first count of the meter, by the charger's time in s since 1970, and in Wh."""
        self.resting_wh: int | None = None
        """The meter's first count in a loop that has reported no current so far."""
        self.flowed = False
        """Whether the loop has ever reported a current."""
        self.voltage = 0.0
        self.pre_charged = False

    @property
    def der(self) -> bool:
        """Whether AC DER is selected."""
        return self.service == ServiceId.AC_DER_IEC

    def hear(self, response: Element) -> None:
        """Store the data of a response that later requests need."""
        match response:
            case cm.SessionSetupRes():
                self.session_id = response.header.session_id
            case cm.AuthorizationSetupRes():
                self.setup = response
            case cm.ServiceDiscoveryRes():
                self.discovery = response
            case cm.ServiceDetailRes():
                self.detail = response
            case cm.ScheduleExchangeRes():
                self.schedule = response
            case ChargeLoopRes(meter_info=MeterInfo() as meter):
                self.meter = meter
                self.counted = self.counted or (response.header.time_stamp, meter.charged_energy_reading_wh)
        if type(response).__name__.endswith("ChargeParameterDiscoveryRes"):
            self.parameters = response
        voltage = getattr(response, "evse_present_voltage", None)
        if voltage is not None:
            self.voltage = amount(voltage)
        current = getattr(response, "evse_present_current", None)
        if current is not None:
            self.flowed |= abs(amount(current)) > NOISE
            self.resting_wh = self.energy_wh if self.resting_wh is None else self.resting_wh

    @property
    def energy_wh(self) -> int | None:
        """The meter's counts in both directions, Wh; None if the charger does not report them."""
        if self.meter is None:
            return None
        return self.meter.charged_energy_reading_wh + (self.meter.bpt_discharged_energy_reading_wh or 0)

    @property
    def challenge(self) -> bytes:
        """The challenge of this session, zeros without one."""
        mode = self.setup.pnc_as_res_authorization_mode if self.setup is not None else None
        return mode.gen_challenge if mode is not None else bytes(16)

    def offered(self) -> tuple[int, ...]:
        """Return the ids of all offered services."""
        if self.discovery is None:
            return ()
        lists = (self.discovery.energy_transfer_service_list, self.discovery.vas_list)
        return tuple(each.service_id for some in lists if some is not None for each in some.service)

    @property
    def serves_family(self) -> bool:
        """Whether any offered energy service has the family's messages."""
        return any(each in ENERGY_TRANSFER and ENERGY_TRANSFER[each].family is self.family for each in self.offered())

    def choose_service(self, bidirectional: bool | None, *, der: bool = False) -> bool:
        """Select an energy service of the family, AC DER only if asked for; return False if none (in that direction) is
        offered."""
        assert self.discovery is not None
        offered = [each.service_id for each in self.discovery.energy_transfer_service_list.service]
        found = [
            each
            for each in offered
            if each in ENERGY_TRANSFER
            and ENERGY_TRANSFER[each].family is self.family
            and bidirectional in (None, ENERGY_TRANSFER[each].bidirectional)
            and (each in DER_SCHEMAS) is der
            and each != ServiceId.AC_DER_SAE
        ]
        if not found:
            return False
        self.service = next((each for each in found if not ENERGY_TRANSFER[each].bidirectional), found[0])
        self.bidirectional = ENERGY_TRANSFER[self.service].bidirectional
        return True

    def choose_set(self, scheduled: bool | None) -> bool:
        """Select a parameter set of the service; return False if none has the desired control mode."""
        assert self.detail is not None
        sets = self.detail.service_parameter_list.parameter_set
        for each in sets:
            values = {parameter.name: parameter.int_value for parameter in each.parameter}
            is_scheduled = values.get("ControlMode", DYNAMIC) != DYNAMIC
            if scheduled in (None, is_scheduled):
                self.parameter_set, self.scheduled = each.parameter_set_id, is_scheduled
                self.phases = 1 if values.get("Connector") == 1 else 3
                return True
        return False


def number(value: float) -> RationalNumber:
    """Return a number with the precision of the type."""
    exponent = 0
    while abs(value - round(value)) > 1e-9 and exponent > -3:
        value, exponent = value * 10, exponent - 1
    while abs(value) > 32767:
        value, exponent = value / 10, exponent + 1
    return RationalNumber(exponent=exponent, value=round(value))
