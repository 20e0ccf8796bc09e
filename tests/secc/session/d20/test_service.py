"""Services, their parameter sets, and what the vehicle may select."""

from typing import Any

import pytest

from secc.session.config import ControlMode, EnergyService, SeccConfig, SignedDischargeConfig
from secc.session.ports import Journal
from tests.secc.session.bench import SIGNED, Bench
from tests.secc.session.conftest import MakeBench
from v2g.energy.settlement.records import ServiceChanged
from v2g.iso15118.d20.messages import common_messages as cm
from v2g.iso15118.engine.sequence import State


def ids(services: Any) -> list[int]:
    return [each.service_id for each in services.service] if services else []


def parameters(response: Any) -> list[dict[str, Any]]:
    return [
        {each.name: each.int_value for each in parameter_set.parameter}
        for parameter_set in response.service_parameter_list.parameter_set
    ]


def test_energy_services_and_signed_discharge_are_offered(bench: Bench) -> None:
    response = bench.reach(State.SERVICE_DISCOVERY).go("ServiceDiscoveryReq")
    assert ids(response.energy_transfer_service_list) == [6, 2]
    assert ids(response.vas_list) == [SIGNED]
    assert response.service_renegotiation_supported


@pytest.mark.parametrize(("known", "offered"), [((2, 6), []), ((6, SIGNED), [SIGNED])])
def test_a_vehicle_that_names_its_services_is_shown_no_other_added_one(
    bench: Bench, known: tuple[int, ...], offered: list[int]
) -> None:
    bench.reach(State.SERVICE_DISCOVERY)
    request = bench.ask("ServiceDiscoveryReq", supported_service_ids=cm.ServiceIDList(service_id=known))
    response = bench.send(request)
    assert ids(response.vas_list) == offered  # V2G20-1249
    assert ids(response.energy_transfer_service_list) == [6, 2]


@pytest.mark.parametrize(
    "config",
    [SeccConfig(signed_discharge=SignedDischargeConfig(offered=False)), SeccConfig(services=(EnergyService.DC,))],
    ids=["switched off", "one direction"],
)
def test_signed_discharge_is_not_offered_where_it_has_no_use(make_bench: MakeBench, config: SeccConfig) -> None:
    response = make_bench(config).reach(State.SERVICE_DISCOVERY).go("ServiceDiscoveryReq")
    assert response.vas_list is None


def test_services_may_be_asked_for_again(bench: Bench) -> None:
    bench.reach(State.SERVICE_DETAIL)
    assert bench.go("ServiceDiscoveryReq", "ServiceDetailReq", "ServiceSelectionReq").response_code.name == "OK"


def test_parameter_sets_name_both_control_modes_in_the_configured_order(bench: Bench) -> None:
    bench.reach(State.SERVICE_DETAIL)
    response = bench.send(bench.ask("ServiceDetailReq", service_id=6))
    dynamic, scheduled = parameters(response)
    expected = {"Connector": 2, "MobilityNeedsMode": 1, "Pricing": 1, "BPTChannel": 1, "GeneratorMode": 1}
    assert dynamic == {**expected, "ControlMode": 2}
    assert scheduled == {**expected, "ControlMode": 1}
    assert [each.parameter_set_id for each in response.service_parameter_list.parameter_set] == [0, 1]
    plain = parameters(bench.send(bench.ask("ServiceDetailReq", service_id=2)))
    assert all("BPTChannel" not in each for each in plain)


def test_without_a_tariff_only_scheduled_vehicles_are_promised_price_levels(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(control_modes=(ControlMode.SCHEDULED, ControlMode.DYNAMIC)), tariff=None)
    response = bench.reach(State.SERVICE_DETAIL).send(bench.ask("ServiceDetailReq", service_id=6))
    assert [each["Pricing"] for each in parameters(response)] == [2, 0]


def test_signed_discharge_names_its_version_and_payload_type(bench: Bench) -> None:
    bench.reach(State.SERVICE_DETAIL)
    response = bench.send(bench.ask("ServiceDetailReq", service_id=SIGNED))
    assert parameters(response) == [{"Version": version, "PayloadType": 0xA000} for version in (1, 2, 3)]


def test_a_charger_without_checkpoints_offers_only_version_1(make_bench: MakeBench) -> None:
    bench = make_bench(SeccConfig(signed_discharge=SignedDischargeConfig(checkpoints=False)))
    bench.reach(State.SERVICE_DETAIL)
    response = bench.send(bench.ask("ServiceDetailReq", service_id=SIGNED))
    assert parameters(response) == [{"Version": 1, "PayloadType": 0xA000}]


def test_a_service_that_was_not_offered_has_no_details(bench: Bench) -> None:
    bench.reach(State.SERVICE_DETAIL)
    response = bench.send(bench.ask("ServiceDetailReq", service_id=1))
    assert response.response_code.name == "FAILED_ServiceIDInvalid"
    assert response.service_id == 1


def selection(service: int, parameter_set: int, *vas: tuple[int, int]) -> dict[str, Any]:
    chosen = tuple(cm.SelectedService(service_id=each, parameter_set_id=number) for each, number in vas)
    return {
        "selected_energy_transfer_service": cm.SelectedService(service_id=service, parameter_set_id=parameter_set),
        "selected_vas_list": cm.SelectedServiceList(selected_service=chosen) if chosen else None,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        selection(1, 0),  # not offered
        selection(2, 0),  # offered, but never asked about
        selection(6, 2),  # no such set
        selection(6, 0, (SIGNED, 3)),
        selection(6, 0, (65, 0)),
        selection(6, 0, (6, 0)),  # detailed, and offered for energy only
    ],
)
def test_what_was_not_offered_or_detailed_cannot_be_selected(bench: Bench, wrong: dict[str, Any]) -> None:
    bench.reach(State.SERVICE_SELECTION)
    response = bench.send(bench.ask("ServiceSelectionReq", **wrong))
    assert response.response_code.name == "FAILED_ServiceSelectionInvalid"  # V2G20-433, -467


@pytest.mark.parametrize(
    ("chosen", "required", "discharge"),
    [((6, 0, True), True, "signed"), ((6, 1, False), True, "none"), ((6, 0, False), False, "standard"),
     ((2, 0, False), False, "none")],
)  # fmt: skip
def test_the_journal_opens_with_who_and_on_which_terms(
    make_bench: MakeBench, chosen: tuple[int, int, bool], required: bool, discharge: str
) -> None:
    bench = make_bench(SeccConfig(signed_discharge=SignedDischargeConfig(required=required)))
    bench.selection = chosen
    bench.reach(State.DC_CHARGE_PARAMETER_DISCOVERY)
    selected = ["ServiceChanged"] if discharge != "none" else []
    signed = ["SessionStarted", "ContractAuthorized", "AuthorizationSigned"]
    assert bench.records() == [*signed, *selected, "VehicleDescribed", "TariffSet"]
    started, *_ = records = [each.record for each in bench.commands(Journal)]
    assert started.discharge == "none"
    assert [(each.discharge, each.reason) for each in records if isinstance(each, ServiceChanged)] == [
        (discharge, "selected") for _ in selected
    ]
    assert started.session_id == bench.session.session_id.hex()
    assert (started.import_mwh, started.export_mwh) == (5_000_000, 2_000_000)


@pytest.mark.parametrize("service", [SIGNED, 65, 66, 12])
def test_what_transfers_no_energy_is_no_energy_service(bench: Bench, service: int) -> None:
    bench.reach(State.SERVICE_SELECTION)
    response = bench.send(bench.ask("ServiceSelectionReq", **selection(service, 0)))
    assert response.response_code.name == "FAILED_NoEnergyTransferServiceSelected"
    assert bench.reason == "FAILED_NoEnergyTransferServiceSelected"
