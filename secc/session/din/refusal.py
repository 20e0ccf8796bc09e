"""Negative responses of DIN 70121: each request's own response type, with placeholders for mandatory fields."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from secc.session.refusal import negative_response
from v2g.exi.declare import Element
from v2g.iso15118.din.messages import charging, common
from v2g.iso15118.din.messages import data_types as types
from v2g.iso15118.din.messages import parameters as limits
from v2g.iso15118.din.messages.tariffs import (
    PMaxSchedule,
    PMaxScheduleEntry,
    RelativeTimeInterval,
    SAScheduleList,
    SAScheduleTuple,
)
from v2g.iso15118.din.quantities import VALUES
from v2g.iso15118.din.status import dc_evse_status
from v2g.iso15118.engine import evse_id as evse_ids
from v2g.iso15118.engine.dc_status import Phase, status
from v2g.iso15118.engine.physical_values import Rounding

_ELEMENTS: Final[Mapping[str, type[Element]]] = MappingProxyType({**common.ELEMENTS, **charging.ELEMENTS})

_VOLTS, _AMPERES = VALUES.voltage(0, Rounding.DOWN), VALUES.current(0, Rounding.DOWN)
_STATUS: Final = dc_evse_status(status(Phase.STOPPED, isolation="Invalid"))
_ENTRY: Final = PMaxScheduleEntry(time_interval=RelativeTimeInterval(start=0), p_max=0)
_SCHEDULE: Final = PMaxSchedule(p_max_schedule_id=1, p_max_schedule_entry=(_ENTRY,))
_CERTIFICATE: Final = b"\0"

_PLACEHOLDERS: Final[Mapping[str, object]] = MappingProxyType(
    {
        "payment_options": types.PaymentOptions(payment_option=(types.PaymentOption.ExternalPayment,)),
        "charge_service": types.ServiceCharge(
            service_tag=types.ServiceTag(service_id=1, service_category=types.ServiceCategory.EVCharging),
            free_service=False,
            energy_transfer_type=types.EVSESupportedEnergyTransferType.DC_extended,
        ),
        "evse_processing": types.EVSEProcessing.Finished,
        "sa_schedules": SAScheduleList(
            sa_schedule_tuple=(SAScheduleTuple(sa_schedule_tuple_id=1, p_max_schedule=_SCHEDULE),)
        ),
        "evse_charge_parameter": limits.DC_EVSEChargeParameter(
            dc_evse_status=_STATUS,
            evse_maximum_current_limit=_AMPERES,
            evse_maximum_voltage_limit=_VOLTS,
            evse_minimum_current_limit=_AMPERES,
            evse_minimum_voltage_limit=_VOLTS,
            evse_peak_current_ripple=_AMPERES,
        ),
        "dc_evse_status": _STATUS,
        "evse_status": _STATUS,
        "evse_present_voltage": _VOLTS,
        "evse_present_current": _AMPERES,
        "evse_current_limit_achieved": False,
        "evse_voltage_limit_achieved": False,
        "evse_power_limit_achieved": False,
        # of messages that no session uses
        "gen_challenge": "",
        "date_time_now": 0,
        "sa_schedule_tuple_id": 1,
        "receipt_required": False,
        "ac_evse_status": limits.AC_EVSEStatus(
            power_switch_closed=False,
            rcd=False,
            notification_max_delay=0,
            evse_notification=limits.EVSENotification.StopCharging,
        ),
        "contract_signature_cert_chain": types.CertificateChain(certificate=_CERTIFICATE),
        "contract_signature_encrypted_private_key": _CERTIFICATE,
        "dh_params": _CERTIFICATE,
        "contract_id": "",
        "retry_counter": -1,
        "id": "id1",
    }
)
"""Mandatory field of a response -> its value in a negative one."""


def refusal(request: Element, code: str, *, evse_id: str) -> Element:
    """Return the negative response to `request`; `code` is a value of responseCodeType."""
    values = {**_PLACEHOLDERS, "evse_id": evse_ids.as_bytes(evse_id)}
    return negative_response(request, code, codes=types.ResponseCode, elements=_ELEMENTS, values=values)
