"""Modifications of requests of ISO 15118-2 and DIN 70121, by name: valid variants, and faults, one each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from v2g.errors import RefusedError
from v2g.exi.declare import Element
from v2g.iso15118.d2.signatures import chain_of
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.engine import app_protocol as app
from v2g.iso15118.engine.session import NO_SESSION
from v2g.iso15118.v2g_message import ChargeParameterDiscoveryReq
from v2g.pki.keys import SoftwareKey
from v2g_testkit.cases.requests import protocol
from v2g_testkit.cases.v2g_message.requests import DEPARTURE_S, MAJOR, MessageRequests

Change = Callable[..., Element]

_STRANGER: Final = b"somebody"
_UNKNOWN: Final = 4711
INTERNET: Final = 3
"""ServiceID of the service InternetAccess."""
MOST_ENTRIES: Final = 12
"""MaxEntriesSAScheduleTuple where a case limits the entries of schedules."""


def _absent(why: str) -> RefusedError:
    return RefusedError(why, reason="not_offered")


def _with_id(session_id: bytes, request: Element, made: MessageRequests) -> Element:
    """Send the request with another SessionID."""
    made.header_id = session_id
    return request


def _only(request: Element, made: MessageRequests, *entries: app.AppProtocol) -> Element:
    return app.SupportedAppProtocolReq(app_protocol=entries)


def _unknown_protocol(request: Element, made: MessageRequests) -> Element:
    return _only(request, made, protocol("urn:example:15118:99:MsgDef", major=MAJOR))


def _best_rank_last(request: Element, made: MessageRequests) -> Element:
    """The same protocol twice: the priority must decide, not the order in the list."""
    return _only(request, made, made.protocol(schema=3, rank=20), made.protocol(schema=7, rank=1))


# -- services -----------------------------------------------------------------------------------------------------


def _service(service: int, request: Element, made: MessageRequests) -> Element:
    if service == INTERNET and INTERNET not in made.known.added:
        raise _absent("the charger does not offer InternetAccess")
    return replace(request, service_id=service)


def _added_service(request: Element, made: MessageRequests) -> Element:
    if not made.known.added:
        raise _absent("the charger offers no value-added service")
    return request


def _with_added(request: Element, made: MessageRequests) -> Element:
    _added_service(request, made)
    return replace(request, selected_service_list=made.selected(made.known.charge_service, *made.known.added))


def _not_offered(request: Element, made: MessageRequests) -> Element:
    return replace(request, selected_service_list=made.selected(made.known.charge_service, _UNKNOWN))


def _no_charge_service(request: Element, made: MessageRequests) -> Element:
    other = next(iter(made.known.added), _UNKNOWN)
    return replace(request, selected_service_list=made.selected(other))


def _payment(name: str, request: Element, made: MessageRequests) -> Element:
    if name in made.known.payments:
        raise _absent(f"the charger offers {name}")
    return replace(request, selected_payment_option=made.types.PaymentOption[name])


# -- contracts ----------------------------------------------------------------------------------------------------


def _wrong_challenge(request: Element, made: MessageRequests) -> Element:
    own = made.known.challenge
    return replace(request, gen_challenge=bytes((own[0] ^ 0xFF,)) + own[1:])


def _wrong_key(request: Element, made: MessageRequests) -> Element:
    made.signs = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    return request


def _changed_after_signing(request: Element, made: MessageRequests) -> Element:
    made.signed = replace(request, id="id2")
    return request


def _provisioning(name: str, request: Element, made: Any) -> Element:
    return replace(request, oem_provisioning_cert=made.provisioning(name))


def _inverted(request: Element, made: MessageRequests) -> Element:
    leaf, *subs = _contract(made, "good")
    if len(subs) < 2:
        raise _absent("the contract has one sub-CA")
    return replace(request, contract_signature_cert_chain=chain_of((leaf, *subs[::-1])))


def _foreign(place: int, request: Element, made: MessageRequests) -> Element:
    """Put one certificate of a chain of another PKI into the contract's, which certifies the same keys."""
    chain = list(_contract(made, "good"))
    if place >= len(chain):
        raise _absent("the contract has fewer sub-CAs")
    chain[place] = _contract(made, "unknown-root")[min(place, 1)]
    return replace(request, contract_signature_cert_chain=chain_of(tuple(chain)))


def _contract(made: MessageRequests, name: str) -> tuple[bytes, ...]:
    return made.kit.contracts[name].chain


def _emaid(emaid: str, request: Element, made: MessageRequests) -> Element:
    return replace(request, emaid=emaid)


# -- parameters and power -----------------------------------------------------------------------------------------


def _mode_not_offered(request: Element, made: MessageRequests) -> Element:
    field = "requested_energy_transfer_mode"
    field = field if hasattr(request, field) else "ev_requested_energy_transfer_type"
    kinds = type(getattr(request, field))
    same = [each for each in kinds if each.value.startswith(made.known.family.value)]
    other = next((each for each in same if each.value not in made.known.modes), None)
    other = other or next((each for each in kinds if each.value not in made.known.modes), None)
    if other is None:
        raise _absent("the charger offers every energy transfer mode")
    return replace(request, **{field: other})


def _negative_current(request: ChargeParameterDiscoveryReq, made: MessageRequests) -> Element:
    limits, current = request.ev_charge_parameter, made.amperes(-100)
    field = "ev_max_current" if made.known.family is Family.AC else "ev_maximum_current_limit"
    return replace(request, ev_charge_parameter=replace(limits, **{field: current}))


def _schedules(
    request: ChargeParameterDiscoveryReq, made: MessageRequests, *, departs: bool = False, limited: bool = False
) -> Element:
    limits = request.ev_charge_parameter
    if departs:
        request = replace(request, ev_charge_parameter=replace(limits, departure_time=DEPARTURE_S))
    return replace(request, max_entries_sa_schedule_tuple=MOST_ENTRIES) if limited else request


def _progress(name: str, request: Element, made: MessageRequests) -> Element:
    return replace(request, charge_progress=made.types.ChargeProgress[name], charging_profile=None)


def _stop(request: Element, made: MessageRequests) -> Element:
    if hasattr(request, "ready_to_charge_state"):
        return replace(request, ready_to_charge_state=False, charging_profile=None)
    return _progress("Stop", request, made)


def _stop_with(error: str, request: Element, made: MessageRequests) -> Element:
    return replace(_stop(request, made), ev_power_delivery_parameter=made.delivery(error))


def _profile_above(request: Element, made: Any) -> Element:
    found = made.schedule()
    if found is None:
        raise _absent("the charger sends no schedule")
    most = max(each.power_w for each in found[1].steps)
    if most >= 32_000 and made.schema.uri.startswith("urn:din"):
        raise _absent("the schedule's power is the greatest that the edition can write")
    return replace(request, charging_profile=made.profile(most + 1000))


def _unknown_tuple(request: Any, made: MessageRequests) -> Any:
    found = made.schedule()
    other = 1 + (found[0] if found is not None else 1) % 255
    if hasattr(request, "sa_schedule_tuple_id"):
        return replace(request, sa_schedule_tuple_id=other)
    return replace(request, charging_profile=replace(request.charging_profile, sa_schedule_tuple_id=other))


ERRORS: Final = (
    "FAILED_RESSTemperatureInhibit",
    "FAILED_EVShiftPosition",
    "FAILED_ChargerConnectorLockFault",
    "FAILED_EVRESSMalfunction",
    "FAILED_ChargingCurrentdifferential",
    "FAILED_ChargingVoltageOutOfRange",
    "FAILED_ChargingSystemIncompatibility",
    "NoData",
)
"""EVErrorCodes of the cases about a stop, in their order."""

CHANGES: Final[Mapping[str, Change]] = {
    "": lambda request, made: request,
    "other session": partial(_with_id, _STRANGER),
    "new session": partial(_with_id, NO_SESSION),
    "unknown protocol": _unknown_protocol,
    "other minor version": lambda request, made: _only(request, made, made.protocol(minor=99)),
    "best priority last": _best_rank_last,
    "unknown service": partial(_service, _UNKNOWN),
    "internet": partial(_service, INTERNET),
    "added service": _added_service,
    "with added services": _with_added,
    "service not offered": _not_offered,
    "no charge service": _no_charge_service,
    "contract not offered": partial(_payment, "Contract"),
    "external payment not offered": partial(_payment, "ExternalPayment"),
    "wrong challenge": _wrong_challenge,
    "wrong key": _wrong_key,
    "changed after signing": _changed_after_signing,
    "expired provisioning": partial(_provisioning, "expired"),
    "sub-CAs inverted": _inverted,
    "foreign leaf": partial(_foreign, 0),
    "foreign sub-CA 2": partial(_foreign, 1),
    "foreign sub-CA 1": partial(_foreign, 2),
    "another eMAID": partial(_emaid, "DEV2GC99999999"),
    "malformed eMAID": partial(_emaid, "?" * 14),
    "mode not offered": _mode_not_offered,
    "negative current": _negative_current,
    "departure": partial(_schedules, departs=True),
    "limited entries": partial(_schedules, limited=True),
    "departure and limited entries": partial(_schedules, departs=True, limited=True),
    "renegotiate": partial(_progress, "Renegotiate"),
    "stop": _stop,
    "profile above PMax": _profile_above,
    "unknown schedule": _unknown_tuple,
    "pause": lambda request, made: replace(request, charging_session=made.types.ChargingSession.Pause),
    **{f"stop with {each}": partial(_stop_with, each) for each in ERRORS},
}
"""Name -> modification of a request that is valid in the session."""
