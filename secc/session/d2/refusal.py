"""Negative responses of ISO 15118-2: each request's own type, with placeholders for mandatory fields [V2G2-736]."""

from collections.abc import Mapping
from typing import Final

from secc.session.v2g_message.session import negative_response
from v2g.exi.declare import Element
from v2g.iso15118.d2.charts import Family
from v2g.iso15118.d2.messages import charging, common
from v2g.iso15118.d2.messages import data_types as types
from v2g.iso15118.d2.messages import parameters as limits
from v2g.iso15118.d2.provisioning import NO_CONTRACT
from v2g.iso15118.d2.quantities import VALUES, dc_evse_status
from v2g.iso15118.engine import evse_id as evse_ids
from v2g.iso15118.engine.dc_status import Phase, status
from v2g.iso15118.engine.physical_values import Rounding

ELEMENTS: Final[Mapping[str, type[Element]]] = {**common.ELEMENTS, **charging.ELEMENTS}

_VOLTS, _AMPERES = VALUES.voltage(0, Rounding.DOWN), VALUES.current(0, Rounding.DOWN)

_DC_STATUS: Final = dc_evse_status(status(Phase.STOPPED, isolation="Invalid"))
_AC_STATUS: Final = limits.AC_EVSEStatus(
    notification_max_delay=0, evse_notification=limits.EVSENotification.StopCharging, rcd=False
)
_DC_LIMITS: Final = limits.DC_EVSEChargeParameter(
    dc_evse_status=_DC_STATUS,
    evse_maximum_current_limit=_AMPERES,
    evse_maximum_power_limit=VALUES.power(0, Rounding.DOWN),
    evse_maximum_voltage_limit=_VOLTS,
    evse_minimum_current_limit=_AMPERES,
    evse_minimum_voltage_limit=_VOLTS,
    evse_peak_current_ripple=_AMPERES,
)
_AC_LIMITS: Final = limits.AC_EVSEChargeParameter(
    ac_evse_status=_AC_STATUS, evse_nominal_voltage=_VOLTS, evse_max_current=_AMPERES
)

_BY_FAMILY: Final[Mapping[Family, Mapping[str, object]]] = {
    Family.AC: {"evse_status": _AC_STATUS, "evse_charge_parameter": _AC_LIMITS},
    Family.DC: {"evse_status": _DC_STATUS, "evse_charge_parameter": _DC_LIMITS},
}

_PLACEHOLDERS: Final[Mapping[str, object]] = {
    "payment_option_list": types.PaymentOptionList(payment_option=(types.PaymentOption.ExternalPayment,)),
    "charge_service": types.ChargeService(
        service_id=1,
        service_category=types.ServiceCategory.EVCharging,
        free_service=False,
        supported_energy_transfer_mode=types.SupportedEnergyTransferMode(
            energy_transfer_mode=(types.EnergyTransferMode.DC_extended,)
        ),
    ),
    "evse_time_stamp": 0,
    "evse_processing": types.EVSEProcessing.Finished,
    "dc_evse_status": _DC_STATUS,
    "ac_evse_status": _AC_STATUS,
    "evse_present_voltage": _VOLTS,
    "evse_present_current": _AMPERES,
    "evse_current_limit_achieved": False,
    "evse_voltage_limit_achieved": False,
    "evse_power_limit_achieved": False,
    "sa_schedule_tuple_id": 1,
    **NO_CONTRACT,
}
"""Mandatory field of a response -> its value in a negative one."""


def refusal(request: Element, code: str, *, evse_id: str, family: Family, challenge: bytes) -> Element:
    """Return the negative response to `request`; `code` is a value of responseCodeType.

    `challenge` is 16 unpredictable bytes, sent in PaymentDetailsRes even then [V2G2-825].
    """
    own = {"evse_id": evse_ids.as_text(evse_id), "gen_challenge": challenge}
    return negative_response(
        request,
        code,
        codes=types.ResponseCode,
        elements=ELEMENTS,
        values={**_PLACEHOLDERS, **_BY_FAMILY[family], **own},
    )
