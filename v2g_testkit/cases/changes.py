"""Invalid modifications of requests, by name: each violates exactly one rule."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import asdict, replace

from v2g.errors import RefusedError
from v2g.exi.declare import Element
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.installation import InstallationRequest, make_request
from v2g.iso15118.d20.messages import ac, ac_der_iec
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.d20.messages.certificates import SubCertificates
from v2g.iso15118.d20.messages.common_types import Processing, RationalNumber, V2GRequest
from v2g.iso15118.d20.messages.dc import DC_ChargeParameterDiscoveryRes
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.session import NO_SESSION
from v2g.iso15118.engine.signature import sign
from v2g.iso15118.engine.xmldsig import SignatureValue
from v2g.pki.keys import SoftwareKey
from v2g_testkit.cases.known import number
from v2g_testkit.cases.quantities import amount
from v2g_testkit.cases.requests import NAMESPACES, Requests, protocol

Change = Callable[[Any, Any], Element]
_STRANGER: Final = b"somebody"
_UNKNOWN_ID: Final = 4711
"""An unused service id, also used as ParameterSetID."""


def _absent(why: str) -> RefusedError:
    """Return the error for a case that does not apply to this device."""
    return RefusedError(why, reason="not_offered")


# -- the handshake ------------------------------------------------------------------------------------------------


def _protocols(*entries: app.AppProtocol) -> app.SupportedAppProtocolReq:
    return app.SupportedAppProtocolReq(app_protocol=entries)


def _unknown_first(request: Element, made: Requests) -> Element:
    own = protocol(NAMESPACES[made.known.family], schema=7, rank=2)
    return _protocols(protocol("urn:iso:std:iso:15118:-99:DC", schema=3), own)


def _best_rank_last(request: Element, made: Requests) -> Element:
    """The same protocol twice: the priority must decide, not the order in the list."""
    name = NAMESPACES[made.known.family]
    return _protocols(protocol(name, schema=3, rank=20), protocol(name, schema=7, rank=1))


def _twenty(request: Element, made: Requests) -> Element:
    others = (protocol(f"urn:example:protocol:{n}", schema=n, rank=n + 1) for n in range(1, 20))
    return _protocols(*others, protocol(NAMESPACES[made.known.family], schema=7, rank=1))


# -- authorization ------------------------------------------------------------------------------------------------


def _signed(request: Element, made: Requests, challenge: bytes) -> Element:
    mode = made.contract_mode(challenge)
    return replace(request, header=made.header(mode), pnc_a_req_authorization_mode=mode)


def _wrong_challenge(request: Element, made: Requests) -> Element:
    own = made.known.challenge
    return _signed(request, made, bytes((own[0] ^ 0xFF,)) + own[1:])


def _old_challenge(request: Element, made: Requests) -> Element:
    earlier = [each for each in made.known.earlier_challenges if each != made.known.challenge]
    if not earlier:
        raise _absent("no earlier session had another challenge")
    return _signed(request, made, earlier[-1])


def _broken_signature(request: V2GRequest, made: Requests) -> Element:
    signature = request.header.signature
    assert signature is not None, "the request is signed"
    value = signature.signature_value.value
    broken = replace(signature, signature_value=SignatureValue(value=value[:-1] + bytes((value[-1] ^ 1,))))
    return replace(request, header=replace(request.header, signature=broken))


def _provisioning(name: str, request: Element, made: Requests) -> Element:
    """Send another provisioning certificate, validly signed."""
    return made.installation(name)


def _other_key(request: cm.CertificateInstallationReq, made: Requests) -> Element:
    """Sign with a key that is not that of the certificate."""
    chain = request.oem_provisioning_certificate_chain
    key = SoftwareKey(ec.generate_private_key(ec.SECP521R1()))
    return replace(request, header=replace(request.header, signature=sign(chain, key, schema=COMMON_MESSAGES)))


def _changed_chain(request: cm.CertificateInstallationReq, made: Requests) -> Element:
    """Change what is signed: the sub-CAs in another order, or absent if there is one."""
    chain = request.oem_provisioning_certificate_chain
    subs = chain.sub_certificates.certificate if chain.sub_certificates is not None else ()
    other = SubCertificates(certificate=subs[::-1]) if len(subs) > 1 else None
    return replace(request, oem_provisioning_certificate_chain=replace(chain, sub_certificates=other))


def _no_sub_cas(request: Element, made: Requests) -> Element:
    own = made.kit.provisioning["good"]
    wish = InstallationRequest(roots=made.kit.roots, maximum=255)
    return make_request(made.header(), own.chain[:1], own.key, wish)


def _other_reading(request: cm.MeteringConfirmationReq, made: Requests) -> Element:
    """Sign a reading that the charger has not sent."""
    data = request.signed_metering_data
    info = replace(data.meter_info, charged_energy_reading_wh=data.meter_info.charged_energy_reading_wh + 1_000)
    data = replace(data, meter_info=info)
    return replace(request, header=made.header(data), signed_metering_data=data)


def _method_not_offered(request: Element, made: Requests) -> Element:
    setup = made.known.setup
    if setup is None or len(setup.authorization_services) > 1:
        raise _absent("the charger offers both authorization methods")
    if cm.Authorization.EIM in setup.authorization_services:
        made.payer = made.kit.contracts.get("good")
        if made.payer is None:
            raise _absent("only a contract can request a service that is not offered, and no contract is given")
        mode = made.contract_mode(bytes(16))
        return cm.AuthorizationReq(
            header=made.header(mode),
            selected_authorization_service=cm.Authorization.PnC,
            pnc_a_req_authorization_mode=mode,
        )
    return cm.AuthorizationReq(
        header=made.header(),
        selected_authorization_service=cm.Authorization.EIM,
        eim_a_req_authorization_mode=cm.EIM_AReqAuthorizationMode(),
    )


# -- services and parameters --------------------------------------------------------------------------------------


def _select(request: Element, service: int, parameter_set: int) -> Element:
    chosen = cm.SelectedService(service_id=service, parameter_set_id=parameter_set)
    return replace(request, selected_energy_transfer_service=chosen)


def _unknown_added(request: Element, made: Requests) -> Element:
    added = (cm.SelectedService(service_id=_UNKNOWN_ID, parameter_set_id=0),)
    return replace(request, selected_vas_list=cm.SelectedServiceList(selected_service=added))


def _other_direction(request: Element, made: Requests) -> Element:
    """Limits of a vehicle that feeds back although that was not selected, or vice versa."""
    other = not made.known.bidirectional
    if made.known.family is Family.AC:
        return replace(request, ac_cpd_req_energy_transfer_mode=made.ac_mode(bidirectional=other))
    return replace(request, dc_cpd_req_energy_transfer_mode=made.dc_mode(bidirectional=other))


def _least_above_most(request: Element, made: Requests) -> Element:
    both = made.known.bidirectional
    if made.known.family is Family.AC:
        return replace(request, ac_cpd_req_energy_transfer_mode=made.ac_mode(bidirectional=both, most=100, least=200))
    mode = made.dc_mode(bidirectional=both, ev_minimum_charge_power=number(30_000))
    return replace(request, dc_cpd_req_energy_transfer_mode=mode)


def _voltage_out_of_reach(request: Element, made: Requests) -> Element:
    """A voltage range outside the charger's."""
    mode = made.dc_mode(
        bidirectional=made.known.bidirectional,
        ev_maximum_voltage=RationalNumber(exponent=3, value=32),
        ev_minimum_voltage=RationalNumber(exponent=3, value=31),
    )
    return replace(request, dc_cpd_req_energy_transfer_mode=mode)


def _other_control_mode(request: Element, made: Requests) -> Element:
    known = made.known
    known.scheduled = not known.scheduled
    try:
        return made.make("ScheduleExchangeReq")
    finally:
        known.scheduled = not known.scheduled


def _other_loop_mode(request: Element, made: Requests) -> Element:
    known = made.known
    known.scheduled = not known.scheduled
    try:
        return made.make(type(request).__name__)
    finally:
        known.scheduled = not known.scheduled


def _unknown_tuple(request: Element, made: Requests) -> Element:
    return replace(request, ev_power_profile=made.profile(tuple_id=max(made.tuple_ids(), default=0) + 1))


def _profile_above(request: Element, made: Requests) -> Element:
    if not made.tuple_ids():
        raise _absent("the charger has offered no schedules")
    return replace(request, ev_power_profile=made.profile(scale=3.0))


def _no_voltage(request: Element, made: Requests) -> Element:
    return replace(request, ev_target_voltage=number(0), ev_processing=Processing.Finished)


def _voltage_above_all(request: Element, made: Requests) -> Element:
    parameters = made.known.parameters
    assert isinstance(parameters, DC_ChargeParameterDiscoveryRes)
    mode = parameters.dc_cpd_res_energy_transfer_mode
    target = number(amount(mode.evse_maximum_voltage) + 100)
    return replace(request, ev_target_voltage=target, ev_processing=Processing.Finished)


def _still_detecting(request: Element, made: Requests) -> Element:
    """The vehicle has not finished its welding detection."""
    return replace(request, ev_processing=Processing.Ongoing)


def _renegotiate_services(request: Element, made: Requests) -> Element:
    discovery = made.known.discovery
    if discovery is None or discovery.service_renegotiation_supported:
        raise _absent("the charger supports renegotiation of services")
    return _services_anew(request, made)


def _services_anew(request: Element, made: Requests) -> Element:
    return replace(request, charging_session=cm.ChargingSession.ServiceRenegotiation)


# -- AC DER -----------------------------------------------------------------------------------------------------------


def _of_plain(request: V2GRequest, made: Requests) -> Element:
    mode = made.ac_mode(bidirectional=False)
    return ac_der_iec.AC_ChargeParameterDiscoveryReq(header=request.header, ac_cpd_req_energy_transfer_mode=mode)


def _of_bpt(request: V2GRequest, made: Requests) -> Element:
    mode = made.ac_mode(bidirectional=True)
    return ac_der_iec.AC_ChargeParameterDiscoveryReq(header=request.header, ac_cpd_req_energy_transfer_mode=mode)


def _as_ac(request: V2GRequest, made: Requests) -> Element:
    mode = made.ac_mode(bidirectional=True)
    return ac.AC_ChargeParameterDiscoveryReq(header=request.header, ac_cpd_req_energy_transfer_mode=mode)


def _negative(request: ac_der_iec.AC_ChargeParameterDiscoveryReq, made: Requests) -> Element:
    mode = request.ac_cpd_req_energy_transfer_mode
    changed = {
        name: replace(value, value=-abs(value.value))
        for name, value in asdict(mode).items()
        if "discharge_power" in name and value is not None
    }
    return replace(request, ac_cpd_req_energy_transfer_mode=replace(mode, **changed))


def _grid_event(request: ac_der_iec.AC_ChargeLoopReq, made: Requests) -> Element:
    return replace(request, cl_req_control_mode=replace(request.cl_req_control_mode, grid_event_condition=255))


_OF_DER: Final[Mapping[str, Change]] = {
    "parameters of AC": _of_plain,
    "parameters of BPT": _of_bpt,
    "payload type of AC": _as_ac,
    "negative discharge": _negative,
    "loop of BPT": lambda request, made: replace(request, cl_req_control_mode=made.plain_loop_mode()),
    "grid event": _grid_event,
}


CHANGES: Final[Mapping[str, Change]] = {
    "": lambda request, made: request,
    "other session": lambda request, made: replace(request, header=replace(request.header, session_id=_STRANGER)),
    "new session": lambda request, made: replace(request, header=replace(request.header, session_id=NO_SESSION)),
    "unknown protocol": lambda request, made: _protocols(protocol("urn:iso:std:iso:15118:-99:DC")),
    "other major version": lambda request, made: _protocols(protocol(NAMESPACES[made.known.family], major=99)),
    "other minor version": lambda request, made: _protocols(protocol(NAMESPACES[made.known.family], minor=99)),
    "unknown protocol first": _unknown_first,
    "best priority last": _best_rank_last,
    "twenty protocols": _twenty,
    "wrong challenge": _wrong_challenge,
    "challenge of an earlier session": _old_challenge,
    "broken signature": _broken_signature,
    "no signature": lambda request, made: replace(request, header=replace(request.header, signature=None)),
    "expired provisioning": partial(_provisioning, "expired"),
    "future provisioning": partial(_provisioning, "not-yet-valid"),
    "unknown maker": partial(_provisioning, "unknown-root"),
    "forged provisioning": partial(_provisioning, "forged"),
    "other key": _other_key,
    "changed chain": _changed_chain,
    "no sub-CAs": _no_sub_cas,
    "one contract": lambda request, made: made.installation(maximum=1),
    "other reading": _other_reading,
    "method not offered": _method_not_offered,
    "unknown service": lambda request, made: replace(request, service_id=_UNKNOWN_ID),
    "unknown selection": lambda request, made: _select(request, _UNKNOWN_ID, 0),
    "unknown parameter set": lambda request, made: _select(request, made.known.service, _UNKNOWN_ID),
    "unknown added service": _unknown_added,
    "other direction": _other_direction,
    "least above most": _least_above_most,
    "voltage out of reach": _voltage_out_of_reach,
    "other control mode": _other_control_mode,
    "other loop mode": _other_loop_mode,
    "unknown schedule": _unknown_tuple,
    "profile above the schedule": _profile_above,
    "no voltage": _no_voltage,
    "voltage above all": _voltage_above_all,
    "still detecting": _still_detecting,
    "pause": lambda request, made: replace(request, charging_session=cm.ChargingSession.Pause),
    "renegotiate services": _renegotiate_services,
    "services anew": _services_anew,
    **_OF_DER,
}
"""Name of a change -> function that applies it to a request. Raises RefusedError with a reason if impossible here."""
