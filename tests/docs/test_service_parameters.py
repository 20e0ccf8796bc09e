"""The reference of service parameters says what the charger sends, no more and no less."""

import itertools
from types import SimpleNamespace
from typing import Any, get_args

from docs import configuration
from docs.service_parameters import PARAMETERS
from secc.session.config import AcRating, EnergyService, ParkingSpace, Protocol, SeccConfig
from secc.session.d20.service import parameter_sets, variants
from secc.session.facts import SessionFacts
from tests.sessions.joined import make_tariff
from v2g.iso15118.d20.services import ServiceId

KNOWN = {(each.name, service): each for each in PARAMETERS for service in each.services}


def sent() -> set[tuple[str, str, Any]]:
    """Return (service, parameter, value) of everything that chargers of all configurations send."""
    found = set()
    ratings = [
        AcRating(phases=1, islanding_parameter="DetectionMethodGridCodeIslanding", islanding_detection="passive"),
        AcRating(three_phase_connector=3),
        AcRating(),
    ]
    for rating, prices, automatic, inside in itertools.product(ratings, (True, False), (True, False), (True, False)):
        config = SeccConfig(
            services=tuple(EnergyService),
            der="iec",
            ac_rating=rating,
            mobility_needs=(1, 2),
            internet=get_args(Protocol),
            parking=ParkingSpace(automatic=automatic, inside=inside),
        )
        names = {int(each): each.name for each in EnergyService}
        names |= {int(each): each.name for each in (ServiceId.INTERNET, ServiceId.PARKING_STATUS)}
        names[config.signed_discharge.service_id] = "SIGNED_DISCHARGE"
        for service_id, name in names.items():
            family = EnergyService(service_id).family if service_id in list(EnergyService) else None
            facts = SessionFacts(tariff=make_tariff(0) if prices else None)
            more = {"family": family, "utc_ms": 0, "grid_support": config.grid_support}
            context: Any = SimpleNamespace(config=config, facts=facts, **more)
            for each in parameter_sets(service_id, variants(context), context):
                for parameter in each.parameter:
                    value = parameter.finite_string if parameter.int_value is None else parameter.int_value
                    found.add((name, parameter.name, value))
    return found


def test_what_is_sent_stands_in_the_table_and_the_table_in_what_is_sent() -> None:
    said = sent()
    assert {(name, service) for service, name, _ in said} == set(KNOWN)
    strange = {each for each in said if (known := KNOWN[each[1], each[0]]).values and each[2] not in known.values}
    assert not strange


def test_every_key_exists() -> None:
    assert {key for each in PARAMETERS for key in each.keys} <= configuration.keys()


def test_every_energy_service_has_its_control_and_needs() -> None:
    for service in EnergyService:
        assert {("ControlMode", service.name), ("MobilityNeedsMode", service.name)} <= KNOWN.keys()
