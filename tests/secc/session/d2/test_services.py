"""Value-added services of a charger in ISO 15118-2: what is listed, described and may be selected."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session.config import Iso2Config, Iso2Service, SeccConfig
from tests.io.tls.support import pki_2
from tests.secc.session.d2.bench import CONFIG, Iso2Bench
from tests.secc.session.d2.contract_bench import BOTH, ContractBench, code
from v2g.iso15118.d2.messages import data_types as types

__all__ = ["pki_2"]

WASH = Iso2Service(
    service_id=60_001,
    name="Car wash",
    scope="example.org",
    free=False,
    parameter_sets=({"Program": "short", "Minutes": 5, "Wax": False}, {"Program": "long", "Minutes": 15, "Wax": True}),
)
LIGHT = Iso2Service(service_id=60_002)
OWN = Iso2Config(services=(WASH, LIGHT))
OFFERING = replace(CONFIG, internet=("http-80", "https-443"), iso2=OWN)
OPENING = ("SupportedAppProtocolReq", "SessionSetupReq")


@pytest.fixture
def bench(pki: PkiTree) -> Iso2Bench:
    return at(pki, OFFERING)


def at(pki: PkiTree, config: SeccConfig) -> Iso2Bench:
    found = Iso2Bench(pki, 1_800_000_000_000, config)
    found.go(*OPENING)
    return found


def listed(found: Iso2Bench, **wanted: Any) -> dict[int, types.Service]:
    services = found.send(found.ask("ServiceDiscoveryReq", **wanted)).service_list
    return {each.service_id: each for each in services.service} if services is not None else {}


def select(found: Iso2Bench, *chosen: tuple[int, int | None], payment: str = "ExternalPayment") -> str:
    services = tuple(types.SelectedService(service_id=each, parameter_set_id=number) for each, number in chosen)
    request = found.ask(
        "PaymentServiceSelectionReq",
        selected_payment_option=types.PaymentOption[payment],
        selected_service_list=types.SelectedServiceList(selected_service=services),
    )
    return code(found.send(request))


def details(found: Iso2Bench, service_id: int) -> dict[int, dict[str, Any]]:
    response = found.send(found.ask("ServiceDetailReq", service_id=service_id))
    assert (code(response), response.service_id) == ("OK", service_id)
    sets = response.service_parameter_list.parameter_set if response.service_parameter_list is not None else ()
    return {
        each.parameter_set_id: {
            parameter.name: next(
                value for key, value in msgspec.structs.asdict(parameter).items() if key != "name" and value is not None
            )
            for parameter in each.parameter
        }
        for each in sets
    }


def test_what_is_configured_is_listed_and_described(bench: Iso2Bench) -> None:
    services = listed(bench)
    assert {each: (found.service_category.value, found.free_service) for each, found in services.items()} == {
        3: ("Internet", True),
        60_001: ("OtherCustom", False),
        60_002: ("OtherCustom", True),
    }
    assert (services[60_001].service_name, services[60_001].service_scope) == ("Car wash", "example.org")
    assert (services[60_002].service_name, services[60_002].service_scope) == (None, None)
    assert details(bench, 3) == {3: {"Protocol": "http", "Port": 80}, 4: {"Protocol": "https", "Port": 443}}
    assert details(bench, 60_001) == {
        1: {"Program": "short", "Minutes": 5, "Wax": False},
        2: {"Program": "long", "Minutes": 15, "Wax": True},
    }
    assert details(bench, 60_002) == {}
    assert details(bench, 1) == {}


def test_nothing_is_listed_without_configuration(pki: PkiTree) -> None:
    assert listed(at(pki, CONFIG)) == {}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"service_category": types.ServiceCategory.Internet}, {3}),
        ({"service_category": types.ServiceCategory.OtherCustom}, {60_001, 60_002}),
        ({"service_scope": "example.org"}, {60_001}),
        ({"service_scope": "elsewhere"}, set()),
        ({"service_category": types.ServiceCategory.Internet, "service_scope": "example.org"}, set()),
        ({"service_category": types.ServiceCategory.ContractCertificate}, set()),
    ],
)
def test_vehicles_filter_by_category_and_scope(bench: Iso2Bench, wanted: dict[str, Any], expected: set[int]) -> None:
    assert set(listed(bench, **wanted)) == expected
    assert select(bench, (1, None), *((each, None) for each in expected)) == "OK"


def test_what_a_filter_left_out_was_not_offered(bench: Iso2Bench) -> None:
    listed(bench, service_scope="example.org")
    assert code(bench.send(bench.ask("ServiceDetailReq", service_id=3))) == "FAILED_ServiceIDInvalid"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ([(1, None)], "OK"),
        ([(1, None), (60_001, 2), (3, 4), (60_002, None)], "OK"),
        ([(60_001, 1)], "FAILED_NoChargeServiceSelected"),
        ([(1, None), (60_001, 3)], "FAILED_ServiceSelectionInvalid"),
        ([(1, None), (3, 1)], "FAILED_ServiceSelectionInvalid"),
        ([(1, None), (60_002, 1)], "FAILED_ServiceSelectionInvalid"),
        ([(1, None), (60_003, None)], "FAILED_ServiceSelectionInvalid"),
        ([(1, None), (2, 1)], "FAILED_ServiceSelectionInvalid"),
        ([(1, None), (28_472, None)], "FAILED_ServiceSelectionInvalid"),  # V2H by SAE J2847/2
        ([(1, None), (28_473, 1)], "FAILED_ServiceSelectionInvalid"),  # V2G
    ],
)
def test_what_may_be_selected(bench: Iso2Bench, chosen: list[tuple[int, int | None]], expected: str) -> None:
    listed(bench)
    assert select(bench, *chosen) == expected
    added = [(each["service_id"], each["parameter_set"]) for each in bench.events("added")]
    assert added == ([each for each in chosen if each[0] != 1] if expected == "OK" else [])


def test_services_stand_beside_that_for_contracts(pki_2: PkiTree) -> None:
    config = replace(BOTH, certificate_installation=True, internet=("ftp-20",), iso2=OWN)
    found = ContractBench(pki_2, config, can_install=True)
    found.go(*OPENING)
    assert list(listed(found)) == [2, 3, 60_001, 60_002]
    assert details(found, 3) == {1: {"Protocol": "ftp", "Port": 20}}
    assert select(found, (1, None), (2, 1), (60_001, 1), payment="Contract") == "OK"


@pytest.mark.parametrize(
    "services",
    [[{"service_id": 3}], [{"service_id": 60_001}] * 2, [{"service_id": 60_001, "parameter_sets": [{}]}]],
    ids=["an id of the standard", "an id twice", "an empty set"],
)
def test_a_configuration_that_no_message_can_hold_is_refused(services: list[dict[str, Any]]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"services": services}, Iso2Config)
