"""Services: the offer, its variants, and the vehicle's selection."""

from typing import Final

from msgspec.structs import replace

from secc.session.config import ControlMode, EnergyService, SeccConfig, offered
from secc.session.d20.scheduling.pricing import pricings
from secc.session.d20.stages import (
    HANDLERS,
    SIDE_HANDLERS,
    Discovered,
    RequestContext,
    Step,
    Variant,
    authorized_of,
    refuse,
)
from secc.session.journal import change_services, discharge_rule, open_journal
from secc.session.ports import Journal
from secc.session.stages import Authorized, Awaiting, Parametrised, Selected, Stage, selected_of
from v2g.energy.grid_support import Function, alternatives
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.services import DER_PARAMETER, DER_SCHEMAS, ENERGY_TRANSFER, ServiceId, der_mask
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.observe import Observe

SIGNED_DISCHARGE_VERSIONS: Final = (1, 2, 3)
"""Supported versions of the V2GDischarge module; the parameter set of a version is its place here. Version 2 has
checkpoints, in version 3 the vehicle also signs the end."""

CHECKPOINTS_SETS: Final = (SIGNED_DISCHARGE_VERSIONS.index(2), SIGNED_DISCHARGE_VERSIONS.index(3))
_UNIFIED_CHANNEL: Final = 1
_GRID_FOLLOWING: Final = 1
NEEDS_FROM_VEHICLE, NEEDS_FROM_SECC = 1, 2
"""MobilityNeedsMode: the side that sets departure and states of charge."""

_SINGLE_PHASE: Final = 1
_ISLANDING: Final = {"active": 1, "passive": 2}


@HANDLERS.on_request(iso.ServiceDiscoveryReq)
def service_discovery(
    request: iso.ServiceDiscoveryReq, stage: Authorized | Discovered | Parametrised | Awaiting, context: RequestContext
) -> Step:
    """List energy services and, for vehicles that can use it, signed discharge. A vehicle that cannot apply the demands
    of AC DER comes back here (V2G20-3348)."""
    authorized = authorized_of(stage)
    assert authorized is not None
    config = context.config
    known = request.supported_service_ids
    added = tuple(
        each
        for each in value_added(context, authorized)
        if known is None or each.service_id in known.service_id  # V2G20-1248, -1249
    )
    energy = offered(context.config.offers(context.family), context.facts.allowed)
    if not energy:
        why = "the back end allows no energy service of this charger"
        raise refuse(ResponseCode.FAILED, why, reason="energy_transfer_not_allowed")
    services = {int(each) for each in energy} | {each.service_id for each in added}
    response = iso.ServiceDiscoveryRes(
        header=context.header,
        response_code=ResponseCode.OK,
        service_renegotiation_supported=config.service_renegotiation,
        energy_transfer_service_list=iso.ServiceList(
            service=tuple(iso.Service(service_id=int(each), free_service=False) for each in energy)
        ),
        vas_list=iso.ServiceList(service=added) if added else None,
    )
    event = Observe("service", "offered", {"services": " ".join(map(str, sorted(services)))})
    return Step(response, Discovered(authorized=authorized, services=frozenset(services)), (event,))


@HANDLERS.on_request(iso.ServiceDetailReq)
def service_detail(request: iso.ServiceDetailReq, stage: Discovered, context: RequestContext) -> Step:
    """Return the parameter sets of a listed service."""
    service_id = request.service_id
    if service_id not in stage.services:  # V2G20-425, -464
        raise refuse(ResponseCode.FAILED_ServiceIDInvalid, f"service {service_id} was not offered")
    shown = stage.variants or variants(context)  # they stay unchanged even if the tariff changes meanwhile
    sets = parameter_sets(service_id, shown, context)
    response = iso.ServiceDetailRes(
        header=context.header,
        response_code=ResponseCode.OK,
        service_id=service_id,
        service_parameter_list=iso.ServiceParameterList(parameter_set=sets),
    )
    seen = stage.details | {(service_id, each.parameter_set_id) for each in sets}
    return Step(response, replace(stage, details=seen, variants=shown))


@HANDLERS.on_request(iso.ServiceSelectionReq)
def service_selection(request: iso.ServiceSelectionReq, stage: Discovered, context: RequestContext) -> Step:
    """Accept the selection if each of its services was detailed with that parameter set (V2G20-433, -467)."""
    config = context.config
    energy = request.selected_energy_transfer_service
    if energy.service_id not in ENERGY_TRANSFER:
        raise refuse(
            ResponseCode.FAILED_NoEnergyTransferServiceSelected, f"{energy.service_id} is not an energy service"
        )
    if energy.service_id not in {
        int(each) for each in offered(context.config.offers(context.family), context.facts.allowed)
    }:
        raise refuse(ResponseCode.FAILED_ServiceSelectionInvalid, f"energy service {energy.service_id} is not offered")
    vas = request.selected_vas_list.selected_service if request.selected_vas_list else ()
    for each in (energy, *vas):
        if (each.service_id, each.parameter_set_id) not in stage.details:  # V2G20-433, -467
            raise refuse(
                ResponseCode.FAILED_ServiceSelectionInvalid,
                f"service {each.service_id} with set {each.parameter_set_id} was not detailed",
            )
    if wrong := ENERGY_TRANSFER.keys() & {each.service_id for each in vas}:
        raise refuse(
            ResponseCode.FAILED_ServiceSelectionInvalid, f"energy service {min(wrong)} was not offered as an added one"
        )
    variant = stage.variants[energy.parameter_set_id]
    selected = Selected(
        authorized=stage.authorized,
        service=EnergyService(energy.service_id),
        control_mode=variant.control_mode,
        signed_discharge=config.signed_discharge.service_id in {each.service_id for each in vas},
        checkpoints=any(
            each.service_id == config.signed_discharge.service_id and each.parameter_set_id in CHECKPOINTS_SETS
            for each in vas
        ),
        added=frozenset(each.service_id for each in vas),
        needs_by_secc=variant.mobility_needs == NEEDS_FROM_SECC,
        pricing=variant.pricing,
        functions=variant.functions,
    )
    event = Observe(
        "service",
        "selected",
        {
            "service": selected.service.name,
            "control_mode": selected.control_mode.name.capitalize(),
            "signed_discharge": selected.signed_discharge,
        },
    )
    response = iso.ServiceSelectionRes(header=context.header, response_code=ResponseCode.OK)
    return Step(response, selected, (*_entries(selected, context), event))


def _entries(selected: Selected, context: RequestContext) -> tuple[Journal, ...]:
    """Return the journal entries of the selection; they begin the journal unless it is open."""
    discharge = discharge_rule(context.config, bidirectional=selected.bidirectional, signed=selected.signed_discharge)
    if context.journal_open:
        return (change_services(selected.service.name, discharge, "renegotiated"),)
    return open_journal(context, selected.authorized, selected.service.name, discharge, wear=context.config.prices.wear)


def parameter_sets(
    service_id: int, shown: tuple[Variant, ...], context: RequestContext
) -> tuple[iso.ParameterSet, ...]:
    """Return the parameter sets of a service, those of energy in the given variants."""
    config = context.config
    if service_id == config.signed_discharge.service_id:
        known = SIGNED_DISCHARGE_VERSIONS if config.signed_discharge.checkpoints else SIGNED_DISCHARGE_VERSIONS[:1]
        return tuple(
            iso.ParameterSet(
                parameter_set_id=index,
                parameter=_integers(Version=version, PayloadType=int(PayloadType.SIGNED_DISCHARGE)),
            )
            for index, version in enumerate(known)
        )
    if service_id in (ServiceId.INTERNET, ServiceId.PARKING_STATUS):
        return internet_sets(config) if service_id == ServiceId.INTERNET else parking_sets(config)
    der = service_id in DER_SCHEMAS
    return tuple(
        iso.ParameterSet(
            parameter_set_id=index, parameter=_energy_parameters(EnergyService(service_id), variant, context)
        )
        for index, variant in enumerate(shown)
        if der or not index % max(1, len(_demands(context)))
    )


def variants(context: RequestContext) -> tuple[Variant, ...]:
    """Return the variants of energy services, best first; ids count from 0. AC DER has one for each set of functions
    that it may demand, other services the first of these."""
    config = context.config
    return tuple(
        Variant(mode, needs, pricing, functions)
        for mode in config.control_modes
        for needs in (config.mobility_needs if mode is ControlMode.DYNAMIC else (NEEDS_FROM_VEHICLE,))  # V2G20-2663
        for pricing in (
            pricings(mode, context) if context.family in (Family.AC, Family.DC) else pricings(mode, context)[:1]
        )
        for functions in _demands(context)
    )


def _demands(context: RequestContext) -> tuple[frozenset[Function], ...]:
    """Return the sets of functions that AC DER may demand, one curve of reactive power in each."""
    return alternatives(context.grid_support.functions) if context.config.der else (frozenset(),)


def _energy_parameters(service: EnergyService, variant: Variant, context: RequestContext) -> tuple[iso.Parameter, ...]:
    """Tables 205 to 207: connector, modes and pricing, and additions for energy in both directions."""
    config = context.config
    connector = _connector(service, config)
    parameters = () if connector is None else _integers(Connector=connector)
    parameters += _integers(ControlMode=int(variant.control_mode), MobilityNeedsMode=variant.mobility_needs)
    if service.family in (Family.AC, Family.DC):
        parameters += _integers(Pricing=variant.pricing)
    if service.family is Family.AC:
        parameters += _integers(EVSENominalVoltage=config.ac_rating.nominal_voltage_v)
    if service is EnergyService.AC_DER_SAE:  # functions are negotiated by the modes of charge parameters
        return parameters
    if service is EnergyService.AC_DER_IEC:
        return parameters + _integers(**{DER_PARAMETER: der_mask(variant.functions)})
    if service.bidirectional:
        parameters += _integers(BPTChannel=_UNIFIED_CHANNEL)
    if service.bidirectional and service.family in (Family.AC, Family.DC):
        parameters += _integers(GeneratorMode=_GRID_FOLLOWING)
    if service is EnergyService.AC_BPT:
        detection = _ISLANDING[config.ac_rating.islanding_detection]
        parameters += _integers(**{config.ac_rating.islanding_parameter: detection})
    return parameters


def _connector(service: EnergyService, config: SeccConfig) -> int | None:
    """Return the value of the parameter Connector; None if there is no plug."""
    if service.family is Family.AC:
        return config.ac_rating.three_phase_connector if config.ac_rating.phases == 3 else _SINGLE_PHASE
    if service.family is not Family.DC:
        return None
    return config.mcs_connector if service in (EnergyService.MCS, EnergyService.MCS_BPT) else config.connector


def _integers(**values: int) -> tuple[iso.Parameter, ...]:
    return tuple(iso.Parameter(name=name, int_value=value) for name, value in values.items())


def value_added(context: RequestContext, authorized: Authorized) -> tuple[iso.Service, ...]:
    """Return the services offered beside energy: signed discharge, Internet, ParkingStatus (Table 204)."""
    config = context.config
    found = []
    if _signed_discharge_offered(context, authorized):
        found.append(config.signed_discharge.service_id)
    if config.internet:
        found.append(ServiceId.INTERNET)
    if config.parking is not None and (config.parking.check_in or config.parking.check_out):
        found.append(ServiceId.PARKING_STATUS)
    return tuple(iso.Service(service_id=int(each), free_service=True) for each in found)


def internet_sets(config: SeccConfig) -> tuple[iso.ParameterSet, ...]:
    """Return one set for each permitted protocol; their numbers are the standard's."""
    return tuple(
        iso.ParameterSet(
            parameter_set_id=number,
            parameter=(
                iso.Parameter(name="Protocol", finite_string=protocol),
                iso.Parameter(name="Port", int_value=port),
            ),
        )
        for number, protocol, port in config.internet_protocols()
    )


def parking_sets(config: SeccConfig) -> tuple[iso.ParameterSet, ...]:
    """Return check-in and check-out, with the driver's or machine's position."""
    parking = config.parking
    assert parking is not None
    kind = (1 if parking.automatic else 3) + (0 if parking.inside else 1)
    intended = [number for number, wanted in ((1, parking.check_in), (2, parking.check_out)) if wanted]
    return tuple(
        iso.ParameterSet(parameter_set_id=each, parameter=_integers(IntendedService=each, ParkingStatusType=kind))
        for each in intended
    )


def _signed_discharge_offered(context: RequestContext, authorized: Authorized) -> bool:
    """Commands are signed by the contract key, so the service requires a contract."""
    back = any(each.bidirectional for each in offered(context.config.offers(context.family), context.facts.allowed))
    return context.config.signed_discharge.offered and authorized.contract is not None and back


_IN: Final = tuple(iso.EvCheckInStatus)
_OUT: Final = tuple(iso.EvCheckOutStatus)


@SIDE_HANDLERS[PayloadType.PARKING_STATUS].on_request(iso.VehicleCheckInReq)
@HANDLERS.on_request(iso.VehicleCheckInReq)
def check_in(request: iso.VehicleCheckInReq, stage: Stage, context: RequestContext) -> Step:
    """Send the vehicle its target and the remaining distance."""
    _require(stage, context)
    before, status = context.parking.check_in, request.ev_check_in_status
    _in_order(None if before is None else _IN.index(before), _IN.index(status), f"{status.value} after {before}")
    space = context.config.parking
    assert space is not None
    distance = None
    if space.device_location is not None and request.vehicle_travel is not None:
        ahead = space.device_location - request.vehicle_travel - (request.device_offset or 0)
        distance = max(-32768, min(32767, ahead))
    response = iso.VehicleCheckInRes(
        header=context.header,
        response_code=ResponseCode.OK,
        parking_space=space.space,
        device_location=space.device_location,
        target_distance=distance,
    )
    event = Observe(
        "parking", "check_in", {"status": status.value, "method": request.parking_method.value, "distance": distance}
    )
    return Step(response, stage, (event,), parking=replace(context.parking, check_in=status))


@SIDE_HANDLERS[PayloadType.PARKING_STATUS].on_request(iso.VehicleCheckOutReq)
@HANDLERS.on_request(iso.VehicleCheckOutReq)
def check_out(request: iso.VehicleCheckOutReq, stage: Stage, context: RequestContext) -> Step:
    """Let the vehicle leave once its time has come and there is no voltage at the output."""
    _require(stage, context)
    before, status = context.parking.check_out, request.ev_check_out_status
    _in_order(None if before is None else _OUT.index(before), _OUT.index(status), f"{status.value} after {before}")
    free = not context.powered and context.utc_ms >= request.check_out_time * 1000
    answer = iso.EvseCheckOutStatus.Completed if free else iso.EvseCheckOutStatus.Scheduled
    response = iso.VehicleCheckOutRes(
        header=context.header, response_code=ResponseCode.OK, evse_check_out_status=answer
    )
    event = Observe("parking", "check_out", {"status": status.value, "answer": answer.value})
    return Step(response, stage, (event,), parking=replace(context.parking, check_out=status))


def _require(stage: Stage, context: RequestContext) -> None:
    """Refuse a vehicle that has not selected the service."""
    selected = selected_of(stage)
    if context.config.parking is None or selected is None or ServiceId.PARKING_STATUS not in selected.added:
        raise refuse(ResponseCode.FAILED_SequenceError, "the service ParkingStatus was not selected")


def _in_order(before: int | None, now: int, what: str) -> None:
    """Require forward progress; after leaving, a vehicle may check in again."""
    if before is None or now >= before or (before == len(_IN) - 1 and now == 0):
        return
    raise refuse(ResponseCode.FAILED_SequenceError, what)
