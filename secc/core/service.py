"""What is on offer, in which variants, and what the vehicle takes."""

from typing import Final

from msgspec.structs import replace

from secc.core.books import open_books
from secc.core.config import ControlMode, EnergyService, SeccConfig
from secc.core.context import Authorized, Discovered, Selected, Step, World, refuse
from secc.core.pricing import pricing_parameter
from v2g.iso15118.messages.common_messages import (
    Parameter,
    ParameterSet,
    Service,
    ServiceDetailReq,
    ServiceDetailRes,
    ServiceDiscoveryReq,
    ServiceDiscoveryRes,
    ServiceList,
    ServiceParameterList,
    ServiceSelectionReq,
    ServiceSelectionRes,
)
from v2g.iso15118.messages.common_types import ResponseCode
from v2g.iso15118.v2gtp import PayloadType
from v2g.observe import Observe

SIGNED_DISCHARGE_VERSION: Final = 1
"""Version of the V2GDischarge module that is spoken here."""

_UNIFIED_CHANNEL: Final = 1
_GRID_FOLLOWING: Final = 1
_NEEDS_FROM_VEHICLE: Final = 1


def service_discovery(request: ServiceDiscoveryReq, context: Authorized | Discovered, world: World) -> Step:
    """List energy services and, for vehicles that could use it, signed discharge."""
    authorized = context.authorized if isinstance(context, Discovered) else context
    config = world.config
    known = request.supported_service_ids
    vas = _signed_discharge_offered(config, authorized) and (
        known is None or config.signed_discharge.service_id in known.service_id  # V2G20-1248, -1249
    )
    services = {int(each) for each in config.services} | ({config.signed_discharge.service_id} if vas else set())
    response = ServiceDiscoveryRes(
        header=world.header,
        response_code=ResponseCode.OK,
        service_renegotiation_supported=False,
        energy_transfer_service_list=ServiceList(
            service=tuple(Service(service_id=int(each), free_service=False) for each in config.services)
        ),
        vas_list=ServiceList(service=(Service(service_id=config.signed_discharge.service_id, free_service=True),))
        if vas
        else None,
    )
    event = Observe("service", "offered", {"services": " ".join(map(str, sorted(services)))})
    return Step(response, Discovered(authorized=authorized, services=frozenset(services)), (event,))


def service_detail(request: ServiceDetailReq, context: Discovered, world: World) -> Step:
    """Show the parameter sets of a listed service."""
    service_id = request.service_id
    if service_id not in context.services:  # V2G20-425, -464
        raise refuse(ResponseCode.FAILED_ServiceIDInvalid, f"service {service_id} was not offered")
    sets = parameter_sets(service_id, world)
    response = ServiceDetailRes(
        header=world.header,
        response_code=ResponseCode.OK,
        service_id=service_id,
        service_parameter_list=ServiceParameterList(parameter_set=sets),
    )
    seen = context.details | {(service_id, each.parameter_set_id) for each in sets}
    return Step(response, replace(context, details=seen))


def service_selection(request: ServiceSelectionReq, context: Discovered, world: World) -> Step:
    """Take the selection if every service of it was detailed with that parameter set (V2G20-1216)."""
    config = world.config
    energy = request.selected_energy_transfer_service
    if energy.service_id not in {int(each) for each in config.services}:
        raise refuse(ResponseCode.FAILED_ServiceSelectionInvalid, f"{energy.service_id} is no energy service here")
    vas = request.selected_vas_list.selected_service if request.selected_vas_list else ()
    for each in (energy, *vas):
        if (each.service_id, each.parameter_set_id) not in context.details:  # V2G20-433, -467
            raise refuse(
                ResponseCode.FAILED_ServiceSelectionInvalid,
                f"service {each.service_id} with set {each.parameter_set_id} was not detailed",
            )
    selected = Selected(
        authorized=context.authorized,
        service=EnergyService(energy.service_id),
        control_mode=config.control_modes[energy.parameter_set_id],
        signed_discharge=config.signed_discharge.service_id in {each.service_id for each in vas},
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
    response = ServiceSelectionRes(header=world.header, response_code=ResponseCode.OK)
    return Step(response, selected, (*open_books(selected, world), event))


def parameter_sets(service_id: int, world: World) -> tuple[ParameterSet, ...]:
    """Return the parameter sets of a service of ours; ids count from 0 in the order of preference."""
    config = world.config
    if service_id == config.signed_discharge.service_id:
        parameters = _integers(Version=SIGNED_DISCHARGE_VERSION, PayloadType=int(PayloadType.SIGNED_DISCHARGE))
        return (ParameterSet(parameter_set_id=0, parameter=parameters),)
    return tuple(
        ParameterSet(parameter_set_id=index, parameter=_energy_parameters(EnergyService(service_id), mode, world))
        for index, mode in enumerate(config.control_modes)
    )


def _energy_parameters(service: EnergyService, mode: ControlMode, world: World) -> tuple[Parameter, ...]:
    """Table 207, and the two additions for energy in both directions."""
    parameters = _integers(
        Connector=world.config.connector,
        ControlMode=int(mode),
        MobilityNeedsMode=_NEEDS_FROM_VEHICLE,
        Pricing=pricing_parameter(mode, world),
    )
    if service is EnergyService.DC_BPT:
        parameters += _integers(BPTChannel=_UNIFIED_CHANNEL, GeneratorMode=_GRID_FOLLOWING)
    return parameters


def _integers(**values: int) -> tuple[Parameter, ...]:
    return tuple(Parameter(name=name, int_value=value) for name, value in values.items())


def _signed_discharge_offered(config: SeccConfig, authorized: Authorized) -> bool:
    """Commands are signed by the contract key, so without a contract there is nothing to offer."""
    return (
        config.signed_discharge.offered and authorized.contract is not None and EnergyService.DC_BPT in config.services
    )
