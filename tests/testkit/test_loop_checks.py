"""What a lab finds in the charge loop of ISO 15118-20: limits beyond the parameters, other identities, energy without
a current; and what it does not mind."""

from typing import Any

import pytest

from v2g.iso15118.d20.messages import dc
from v2g.iso15118.d20.messages.common_types import RationalNumber
from v2g_testkit.cases.quantities import beyond, limits, other_id


def number(value: float) -> RationalNumber:
    return RationalNumber(exponent=-1, value=round(value * 10))


def rated(**changes: float) -> dc.BPT_DC_CPDResEnergyTransferMode:
    fields: dict[str, Any] = {
        "evse_maximum_charge_power": 3000, "evse_minimum_charge_power": 0, "evse_maximum_charge_current": 125,
        "evse_minimum_charge_current": 0, "evse_maximum_voltage": 920, "evse_minimum_voltage": 150,
        "evse_maximum_discharge_power": 2000, "evse_minimum_discharge_power": 0,
        "evse_maximum_discharge_current": 60, "evse_minimum_discharge_current": 0,
    } | changes  # fmt: skip
    return dc.BPT_DC_CPDResEnergyTransferMode(**{name: number(value) for name, value in fields.items()})


def loop(**changes: float) -> dc.BPT_Dynamic_DC_CLResControlMode:
    fields: dict[str, Any] = {
        "evse_maximum_charge_power": 3000, "evse_minimum_charge_power": 0, "evse_maximum_charge_current": 125,
        "evse_maximum_voltage": 920, "evse_maximum_discharge_power": 2000, "evse_minimum_discharge_power": 0,
        "evse_maximum_discharge_current": 60, "evse_minimum_voltage": 150,
    } | changes  # fmt: skip
    return dc.BPT_Dynamic_DC_CLResControlMode(**{name: number(value) for name, value in fields.items()})


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"evse_maximum_charge_power": 0, "evse_maximum_discharge_power": 0},  # nothing is permitted now
        {"evse_maximum_charge_current": 126},  # rounded
        {"evse_minimum_voltage": 200},
        {"evse_maximum_discharge_power": -2000, "evse_maximum_discharge_current": -60},  # Amendment 1
    ],
)
def test_limits_within_those_of_the_parameters_are_right(changes: dict[str, float]) -> None:
    assert list(beyond(loop(**changes), rated())) == []
    assert not [each for each in limits(loop(**changes)) if "above" in each]


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"evse_maximum_charge_power": 3100}, "EVSEMaximumChargePower 3100"),
        ({"evse_minimum_voltage": 0}, "EVSEMinimumVoltage 0"),
        ({"evse_maximum_discharge_current": 150}, "EVSEMaximumDischargeCurrent 150"),
        ({"evse_maximum_discharge_current": -150}, "EVSEMaximumDischargeCurrent -150"),
    ],
)
def test_limits_beyond_those_of_the_parameters_are_named(changes: dict[str, float], found: str) -> None:
    (fault,) = beyond(loop(**changes), rated())
    assert fault.startswith(found)


@pytest.mark.parametrize(
    ("found", "declared", "other"),
    [
        ("DE*V2G*E00001", "DEV2GE00001", False),
        ("dev2ge00001", "DE*V2G*E00001", False),
        ("DEV2GE00002", "DEV2GE00001", True),
        ("DEV2GE00002", "", False),  # nothing is declared
    ],
)
def test_an_evse_id_is_the_declared_one_whatever_its_separators(found: str, declared: str, other: bool) -> None:
    assert other_id(found, declared) is other
