"""What a charger offers beside the charge service in ISO 15118-2: contracts, Internet access, and its owner's services.

It announces and describes them and checks the selection; what they consist of is the owner's business.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from secc.session import installation
from secc.session.config import Iso2Service, SeccConfig
from secc.session.v2g_message.request_context import RequestContext
from v2g.iso15118.d2.messages.common import ServiceDiscoveryReq
from v2g.iso15118.d2.messages.data_types import (
    Parameter,
    ParameterSet,
    SelectedService,
    Service,
    ServiceCategory,
    ServiceParameterList,
)
from v2g.iso15118.d2.timing import CONTRACT_SERVICE, INTERNET_SERVICE


class ServiceOffer(msgspec.Struct, frozen=True):
    """A service with its parameter sets, of which a vehicle selects one."""

    service: Service
    sets: tuple[ParameterSet, ...] = ()

    @property
    def described(self) -> ServiceParameterList | None:
        """Its parameter sets as a message has them."""
        return ServiceParameterList(parameter_set=self.sets) if self.sets else None

    def has(self, parameter_set: int | None) -> bool:
        """Return whether a selection names one of its sets; a vehicle that names none leaves the choice open."""
        return parameter_set is None or parameter_set in {each.parameter_set_id for each in self.sets}


_CONTRACT: Final = ServiceOffer(
    Service(
        service_id=CONTRACT_SERVICE,
        service_name="Certificate",
        service_category=ServiceCategory.ContractCertificate,
        free_service=True,
    ),
    tuple(
        ParameterSet(parameter_set_id=number, parameter=(Parameter(name="Service", string_value=name),))
        for number, name in enumerate(("Installation", "Update"), 1)
    ),
)


def offered(request: ServiceDiscoveryReq, context: RequestContext, *, by_contract: bool) -> tuple[ServiceOffer, ...]:
    """Return the services for a ServiceDiscoveryRes, as its request filters them by category and scope.

    `by_contract` is whether contracts may pay. A joined session is offered no other service than before [V2G2-741].
    """
    if context.joined is not None:
        return ()
    contracts = by_contract and installation.is_offered(context)
    return tuple(
        each
        for each in _known(context.config).values()
        if (contracts or each is not _CONTRACT)
        and request.service_category in (None, each.service.service_category)
        and request.service_scope in (None, each.service.service_scope)
    )


def described(service_id: int, config: SeccConfig) -> ServiceParameterList | None:
    """Return the parameter sets of a service; that of charging has none."""
    known = _known(config)
    return known[service_id].described if service_id in known else None


def wrong_sets(selected: Iterable[SelectedService], config: SeccConfig) -> tuple[tuple[int, int | None], ...]:
    """Return the selected services, with their parameter set, that do not have it."""
    known = _known(config)
    return tuple(
        (each.service_id, each.parameter_set_id)
        for each in selected
        if each.service_id in known and not known[each.service_id].has(each.parameter_set_id)
    )


def _known(config: SeccConfig) -> Mapping[int, ServiceOffer]:
    internet = (_internet(config),) if config.internet else ()
    return {each.service.service_id: each for each in (_CONTRACT, *internet, *map(_own, config.iso2.services))}


def _internet(config: SeccConfig) -> ServiceOffer:
    """Return one set for each permitted protocol; their numbers are the standard's."""
    sets = tuple(
        ParameterSet(
            parameter_set_id=number,
            parameter=(Parameter(name="Protocol", string_value=protocol), Parameter(name="Port", int_value=port)),
        )
        for number, protocol, port in config.internet_protocols()
    )
    service = Service(
        service_id=INTERNET_SERVICE,
        service_name="InternetAccess",
        service_category=ServiceCategory.Internet,
        free_service=True,
    )
    return ServiceOffer(service, sets)


def _own(config: Iso2Service) -> ServiceOffer:
    service = Service(
        service_id=config.service_id,
        service_name=config.name or None,
        service_category=ServiceCategory.OtherCustom,
        service_scope=config.scope or None,
        free_service=config.free,
    )
    sets = (
        ParameterSet(
            parameter_set_id=number, parameter=tuple(_parameter(name, value) for name, value in values.items())
        )
        for number, values in enumerate(config.parameter_sets, 1)
    )
    return ServiceOffer(service, tuple(sets))


def _parameter(name: str, value: bool | int | str) -> Parameter:
    if isinstance(value, bool):
        return Parameter(name=name, bool_value=value)
    return Parameter(name=name, int_value=value) if isinstance(value, int) else Parameter(name=name, string_value=value)
