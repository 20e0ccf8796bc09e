"""The vehicle's selection among the charger's services and their variants (Tables 204 to 207)."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from evcc.session.d20 import positioning
from evcc.session.d20.request_context import RequestContext
from evcc.session.d20.stages import Detailing, Discovering, Ending, Selecting, Step, fail, on_response
from evcc.session.d20.stop import stop
from evcc.session.paused import PausedChoice
from evcc.session.settings import ServiceConfig
from evcc.session.steps import seen
from v2g.energy.grid_support import Function
from v2g.iso15118.d20.charts import Family
from v2g.iso15118.d20.messages import common_messages as iso
from v2g.iso15118.d20.services import (
    AC_DER,
    DER_MODES,
    DER_PARAMETERS,
    ENERGY_TRANSFER,
    PARAMETERS,
    ServiceId,
    der_functions,
)
from v2g.iso15118.engine.v2gtp import PayloadType

_NEEDS: Final[Mapping[str, int]] = {"evcc": 1, "secc": 2}
_PRICINGS: Final = (1, 2, 0)
"""Pricing (Tables 205 to 207), best first: prices, levels, none."""

_CONTROL_MODES: Final[Mapping[str, int]] = {"scheduled": 1, "dynamic": 2}
_UNIFIED_CHANNEL: Final = 1
_GRID_FOLLOWING: Final = 1
_CHECK_IN: Final = 1
CHECKPOINTS_VERSION: Final = 2
"""First version of the signed-discharge messages with checkpoints."""

ENDS_VERSION: Final = 3
"""First version in which the vehicle signs the end of the session."""


@on_response(Discovering)
def on_services(
    stage: Discovering, request: iso.ServiceDiscoveryReq, response: iso.ServiceDiscoveryRes, context: RequestContext
) -> Step:
    """Examine the suitable energy services, best first."""
    offered = {service.service_id for service in response.energy_transfer_service_list.service}
    added = {service.service_id for service in response.vas_list.service} if response.vas_list else set()
    config = context.config.services
    ours = (*((AC_DER[config.der],) if config.der else ()), *(ServiceId[name] for name in config.energy))
    candidates = tuple(
        each
        for each in ours
        if each in offered and ENERGY_TRANSFER[each].family is context.family
        if not (stage.without_der and ENERGY_TRANSFER[each].bidirectional)
    )
    observed = seen("service", "offered", energy=_id_list(offered), added=_id_list(added))
    if not candidates:
        step = stop(stage, context, Ending("no_usable_service", failed=True))
        return msgspec.structs.replace(step, observed=(observed, *step.observed))
    first = Detailing(
        asked=candidates[0],
        candidates=candidates[1:],
        signed_offered=config.signed_discharge and config.signed_discharge_id in added,
        renegotiable=response.service_renegotiation_supported,
        further=tuple(each for each in _wanted(config) if each in added),
    )
    return msgspec.structs.replace(_detail(first, context), observed=(observed,))


def _wanted(config: ServiceConfig) -> tuple[int, ...]:
    wanted = ((ServiceId.INTERNET, config.internet), (ServiceId.PARKING_STATUS, config.parking != "none"))
    return tuple(int(each) for each, wants in wanted if wants)


def _detail(stage: Detailing, context: RequestContext) -> Step:
    return Step(stage=stage, request=iso.ServiceDetailReq(header=context.header(), service_id=stage.asked))


@on_response(Detailing)
def on_detail(
    stage: Detailing, request: iso.ServiceDetailReq, response: iso.ServiceDetailRes, context: RequestContext
) -> Step:
    """Choose a parameter set, and examine the signed-discharge service if energy may flow back."""
    if response.service_id != stage.asked:
        return fail(stage, "wrong_service", asked=stage.asked, received=response.service_id)
    sets = response.service_parameter_list.parameter_set
    if stage.choice is not None:
        return _next(stage, _with_added(stage.choice, stage.asked, sets, context.config.services), context)
    step = _chosen(stage, sets, context)
    unread = {each.name for offered in sets for each in offered.parameter} - PARAMETERS
    if not unread:
        return step
    observed = seen("service", "parameters_unread", names=" ".join(sorted(unread)))
    return msgspec.structs.replace(step, observed=(observed, *step.observed))


def _chosen(stage: Detailing, sets: tuple[iso.ParameterSet, ...], context: RequestContext) -> Step:
    """Choose a set of an energy service, or examine the next one."""
    config = context.config.services
    phases = context.config.on_board_charger.phases if context.family is Family.AC else 0
    choice = choose(stage.asked, sets, config, renegotiable=stage.renegotiable, phases=phases)
    if choice is not None and choice.der:
        one_way = any(not ENERGY_TRANSFER[each].bidirectional for each in stage.candidates)
        choice = msgspec.structs.replace(choice, one_way=one_way)
    if choice is not None and choice.lacking:
        # do without any way of feeding back: the grid's demands would not be met. Where nothing else is left, that is
        # AC DER itself.
        candidates = tuple(each for each in stage.candidates if not ENERGY_TRANSFER[each].bidirectional)
        observed = seen("service", "lacks_grid_support", functions=" ".join(sorted(choice.lacking)))
        if not candidates:
            step = _next(stage, choice, context)
        else:
            step = _detail(msgspec.structs.replace(stage, asked=candidates[0], candidates=candidates[1:]), context)
        return msgspec.structs.replace(step, observed=(observed, *step.observed))
    if choice is not None:
        signed = choice.bpt and stage.signed_offered
        further = (config.signed_discharge_id, *stage.further) if signed else stage.further
        return _next(msgspec.structs.replace(stage, further=further), choice, context)
    if stage.candidates:
        following = msgspec.structs.replace(stage, asked=stage.candidates[0], candidates=stage.candidates[1:])
        return _detail(following, context)
    return stop(stage, context, Ending("no_usable_parameter_set", failed=True))


def _next(stage: Detailing, choice: PausedChoice, context: RequestContext) -> Step:
    """Examine the next value-added service, or select everything."""
    if not stage.further:
        energy = iso.SelectedService(service_id=choice.service_id, parameter_set_id=choice.parameter_set_id)
        pairs = choice.added
        if choice.signed_set is not None:
            pairs = ((context.config.services.signed_discharge_id, choice.signed_set), *pairs)
        added = tuple(iso.SelectedService(service_id=each, parameter_set_id=set_id) for each, set_id in pairs)
        request = iso.ServiceSelectionReq(
            header=context.header(),
            selected_energy_transfer_service=energy,
            selected_vas_list=iso.SelectedServiceList(selected_service=added) if added else None,
        )
        return Step(stage=Selecting(choice), request=request)
    asked, *further = stage.further
    return _detail(msgspec.structs.replace(stage, asked=asked, choice=choice, further=tuple(further)), context)


def _with_added(
    choice: PausedChoice, service_id: int, sets: Iterable[iso.ParameterSet], config: ServiceConfig
) -> PausedChoice:
    """Return the choice with a set of a value-added service, if one is suitable."""
    if service_id == config.signed_discharge_id:
        version, chosen = signed_set(sets, checkpoints=config.checkpoints)
        return msgspec.structs.replace(
            choice, signed_set=chosen, checkpoints=version >= CHECKPOINTS_VERSION, ends=version >= ENDS_VERSION
        )
    wanted = _CHECK_IN if service_id == ServiceId.PARKING_STATUS else None
    for each in sets:
        if wanted is None or integers(each).get("IntendedService") == wanted:
            return msgspec.structs.replace(choice, added=(*choice.added, (service_id, each.parameter_set_id)))
    return choice


@on_response(Selecting)
def on_selected(
    stage: Selecting, request: iso.ServiceSelectionReq, response: iso.ServiceSelectionRes, context: RequestContext
) -> Step:
    """Continue with the charge parameters."""
    choice = stage.choice
    selected = seen(
        "service",
        "selected",
        service=ServiceId(choice.service_id).name,
        control_mode="Dynamic" if choice.dynamic else "Scheduled",
        signed_discharge=choice.signed_set is not None,
    )
    step = positioning.proceed(choice, context)
    return msgspec.structs.replace(step, choice=choice, observed=(selected,))


def choose(
    service_id: int,
    sets: Iterable[iso.ParameterSet],
    config: ServiceConfig,
    *,
    renegotiable: bool = False,
    phases: int = 0,
) -> PausedChoice | None:
    """Return the choice of the first suitable set, in the order of the preferred control modes, or None. One for
    another number of `phases` (0: any), or that demands grid support that the vehicle lacks, only where there is no
    other."""
    lame: PausedChoice | None = None
    bpt = ENERGY_TRANSFER[service_id].bidirectional
    known = [(each, integers(each)) for each in sets]
    if phases:  # Connector is 1 for one of them, 2 or 3 for three
        known.sort(key=lambda each: (each[1].get("Connector", phases) > 1) is not (phases > 1))
    wanted = itertools.product(config.control_mode, config.mobility_needs, _PRICINGS)
    for mode, needs, pricing in wanted:
        for offered, values in known:
            fits = (
                values.get("ControlMode") == _CONTROL_MODES[mode]
                and values.get("MobilityNeedsMode", _NEEDS["evcc"]) == _NEEDS[needs]
                and values.get("Pricing", 0) == pricing
            )
            if fits and _suits(values, bpt=bpt) and not (needs == "secc" and mode == "scheduled"):  # V2G20-2663
                functions, lacking = _demanded(offered, values, config)
                choice = PausedChoice(
                    service_id,
                    offered.parameter_set_id,
                    bpt,
                    dynamic=mode == "dynamic",
                    renegotiable=renegotiable,
                    needs_by_secc=needs == "secc",
                    functions=functions,
                    lacking=lacking,
                )
                if not lacking:
                    return choice
                lame = lame or choice
    return lame


def _demanded(
    offered: iso.ParameterSet, values: Mapping[str, int], config: ServiceConfig
) -> tuple[frozenset[Function], frozenset[str]]:
    """Return the functions that a set of AC DER demands, and those of them that the vehicle lacks; a bit without a
    meaning, or a mask that is no integer, is one that it lacks. By SAE the vehicle declares its own in the charge
    parameters."""
    if config.der == "sae":
        return frozenset(config.der_functions) & DER_MODES.keys(), frozenset()
    masks = [values.get(each.name) for each in offered.parameter if each.name in DER_PARAMETERS]
    read = [der_functions(mask or 0) for mask in masks]
    functions = frozenset(each for found, _ in read for each in found)
    lacking: frozenset[str] = functions - frozenset(config.der_functions)
    known = None not in masks and all(whole for _, whole in read)
    return functions, lacking if known else lacking | {"unknown"}


def _suits(values: Mapping[str, int], *, bpt: bool) -> bool:
    """Return whether the vehicle supports a set: one channel for both directions, no grid forming."""
    if not bpt:
        return True
    unified = values.get("BPTChannel", _UNIFIED_CHANNEL) == _UNIFIED_CHANNEL
    return unified and values.get("GeneratorMode", _GRID_FOLLOWING) == _GRID_FOLLOWING


def signed_set(sets: Iterable[iso.ParameterSet], *, checkpoints: bool) -> tuple[int, int | None]:
    """Return version and id of the signed-discharge set with the highest version that we know, or 0 and None."""
    known = {
        values.get("Version"): each.parameter_set_id
        for each in sets
        if (values := integers(each)).get("PayloadType") == PayloadType.SIGNED_DISCHARGE
    }
    ours = (ENDS_VERSION, CHECKPOINTS_VERSION, 1) if checkpoints else (1,)
    return next(((version, known[version]) for version in ours if version in known), (0, None))


def integers(parameters: iso.ParameterSet) -> dict[str, int]:
    """Return the integer parameters, of any integer type."""
    values: dict[str, int] = {}
    for each in parameters.parameter:
        for value in (each.int_value, each.short_value, each.byte_value):
            if value is not None:
                values[each.name] = value
    return values


def _id_list(ids: Iterable[int]) -> str:
    return " ".join(str(each) for each in sorted(ids))
