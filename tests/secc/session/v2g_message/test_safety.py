"""What messages of ISO 15118-2 and DIN 70121 mean to the safety monitor."""

from typing import Any

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from secc.session.d2.session import Iso2
from secc.session.din.session import Din
from tests.secc.session.d2.bench import CONFIG as CONFIG_2
from tests.secc.session.d2.bench import Iso2Bench, amperes, watts
from tests.secc.session.din.bench import CONFIG as CONFIG_DIN
from tests.secc.session.din.bench import DinBench
from v2g.iso15118.d2.messages.data_types import ChargeProgress, EnergyTransferMode
from v2g.iso15118.engine.physical_values import Rounding
from v2g.safety import UNBOUNDED, Phase, Request

pytestmark = pytest.mark.requirement("R15")

NOW_MS = 1_790_000_000_000
CLOSED_S = 62.0
"""The sequence time-out, which the session counts from its answer, and two seconds for that."""


class Reading:
    """A reader and the bench whose requests it reads."""

    def __init__(self, bench: Any, read: Any) -> None:
        self.bench, self._read = bench, read

    def read(self, name: str, **changes: Any) -> Request:
        body = self.bench.ask(name, **changes)
        found = self._read(self.bench.wrapped(b"12345678", body), 0x8001)
        assert isinstance(found, Request)
        return found


@pytest.fixture(params=["din", "dc", "ac"])
def reading(request: pytest.FixtureRequest, pki: PkiTree) -> Reading:
    if request.param == "din":
        return Reading(DinBench(pki, NOW_MS), Din().reader(CONFIG_DIN, interop=False))
    bench = Iso2Bench(pki, NOW_MS, alternating=request.param == "ac")
    return Reading(bench, Iso2().reader(CONFIG_2, interop=False))


def is_ac(reading: Reading) -> bool:
    return bool(getattr(reading.bench, "alternating", False))


def test_limits_of_the_vehicle(reading: Reading) -> None:
    found = reading.read("ChargeParameterDiscoveryReq")
    assert found.phase is Phase.IDLE
    assert found.bears is not None
    assert found.bears.discharge_w == 0
    if is_ac(reading):
        assert found.bears.charge_w == 11_040
    else:
        assert (found.bears.charge_w, found.bears.charge_ma, found.bears.voltage_mv) == (20_000, 60_000, 450_000)


def test_power_needs_a_loop(reading: Reading) -> None:
    reading.read("ChargeParameterDiscoveryReq")
    started = reading.read("PowerDeliveryReq")
    assert started.phase is Phase.POWER
    assert started.bears is not None
    assert (started.bears.charge_ma == 0) is not is_ac(reading), "direct current is asked for in the loop"
    loop = reading.read("ChargingStatusReq" if is_ac(reading) else "CurrentDemandReq")
    assert loop.bears is not None
    assert loop.bears.charge_ma == (16_000 if is_ac(reading) else 20_000)
    assert started.power_s == loop.power_s == (CLOSED_S if is_ac(reading) else 2.0)
    assert loop.closed_s == CLOSED_S


def test_a_stop_ends_power(reading: Reading) -> None:
    din = isinstance(reading.bench, DinBench)
    found = reading.read(
        "PowerDeliveryReq", **({"ready_to_charge_state": False} if din else {"charge_progress": ChargeProgress.Stop})
    )
    assert (found.phase, found.power_s, found.closed_s) == (Phase.REST, 0.0, 4.0)
    assert reading.read("SessionStopReq").phase is Phase.IDLE


def test_voltage_before_power(pki: PkiTree) -> None:
    reading = Reading(DinBench(pki, NOW_MS), Din().reader(CONFIG_DIN, interop=False))
    assert reading.read("CableCheckReq").phase is Phase.VOLTAGE
    found = reading.read("PreChargeReq")
    assert (found.phase, found.target_mv) == (Phase.VOLTAGE, 400_000)


def test_limits_of_the_loop_replace_earlier_ones(pki: PkiTree) -> None:
    reading = Reading(Iso2Bench(pki, NOW_MS), Iso2().reader(CONFIG_2, interop=False))
    reading.read("ChargeParameterDiscoveryReq")
    found = reading.read("CurrentDemandReq", ev_maximum_power_limit=watts(-5), ev_maximum_current_limit=amperes(9))
    assert found.bears is not None
    assert (found.bears.charge_w, found.bears.charge_ma, found.bears.voltage_mv) == (0, 9_000, 450_000)


def test_a_renegotiation_keeps_the_contactor_closed_and_extends_no_power(pki: PkiTree) -> None:
    reading = Reading(Iso2Bench(pki, NOW_MS), Iso2().reader(CONFIG_2, interop=False))
    reading.read("ChargeParameterDiscoveryReq")
    reading.read("PowerDeliveryReq")
    for name in ("PowerDeliveryReq", "ChargeParameterDiscoveryReq"):
        changes = {"charge_progress": ChargeProgress.Renegotiate} if name == "PowerDeliveryReq" else {}
        found = reading.read(name, **changes)
        assert (found.phase, found.power_s, found.closed_s) == (None, 0.0, CLOSED_S)
        assert found.bears is not None
        assert (found.bears.charge_ma, found.bears.voltage_mv) == (0, 450_000), "and none may flow"
    for name in ("CableCheckReq", "PreChargeReq"):
        found = reading.read(name)
        assert (found.phase, found.power_s, found.closed_s) == (Phase.VOLTAGE, 0.0, CLOSED_S)
    assert reading.read("PowerDeliveryReq").phase is Phase.POWER
    assert reading.read("ChargeParameterDiscoveryReq").phase is Phase.IDLE


def din(pki: PkiTree) -> Reading:
    return Reading(DinBench(pki, NOW_MS), Din().reader(CONFIG_DIN, interop=False))


@pytest.mark.parametrize(("volts", "target_mv"), [(-5, 0), (0, 0), (1_500, CONFIG_DIN.rating.max_voltage_v * 1000)])
def test_a_target_voltage_is_one_that_the_charger_has(pki: PkiTree, volts: int, target_mv: int) -> None:
    reading = din(pki)
    assert reading.read("PreChargeReq", ev_target_voltage=reading.bench.volts(volts)).target_mv == target_mv


@pytest.mark.parametrize("code", ["FAILED_RESSTemperatureInhibit", "FAILED_ChargingVoltageOutOfRange", "NoData"])
def test_a_vehicle_that_reports_an_error_gets_nothing(pki: PkiTree, code: str) -> None:
    reading = din(pki)
    reading.read("ChargeParameterDiscoveryReq")
    reading.bench.error = code
    found = reading.read("CurrentDemandReq").bears
    assert found is not None
    assert (found.charge_w, found.charge_ma, found.voltage_mv) == (0, 0, 450_000)
    reading.bench.error = "NO_ERROR"
    found = reading.read("CurrentDemandReq").bears
    assert found is not None
    assert (found.charge_w, found.charge_ma) == (20_000, 20_000)


@pytest.mark.parametrize(("amperes", "charge_ma"), [(-30, 0), (5, 5_000), (90, 60_000)])
def test_no_more_than_the_vehicle_asks_for(pki: PkiTree, amperes: int, charge_ma: int) -> None:
    reading = din(pki)
    reading.read("ChargeParameterDiscoveryReq")
    found = reading.read("CurrentDemandReq", ev_target_current=reading.bench.amperes(amperes)).bears
    assert found is not None
    assert found.charge_ma == charge_ma


@pytest.mark.parametrize(("volts", "borne_mv"), [(512, 450_000), (450, 450_000), (420, 420_000)])
def test_no_voltage_above_that_with_which_the_insulation_was_tested(pki: PkiTree, volts: int, borne_mv: int) -> None:
    reading = din(pki)
    reading.read("ChargeParameterDiscoveryReq")
    for voltage, expected_mv in ((volts, borne_mv), (440, 440_000), (450, 450_000)):
        found = reading.read("CurrentDemandReq", ev_maximum_voltage_limit=reading.bench.volts(voltage)).bears
        assert found is not None
        assert found.voltage_mv == expected_mv


def test_a_receipt_extends_no_power(pki: PkiTree) -> None:
    reading = Reading(Iso2Bench(pki, NOW_MS), Iso2().reader(CONFIG_2, interop=False))
    assert reading.read("MeteringReceiptReq") == Request(closed_s=CLOSED_S)


def test_without_parameters_no_power_is_allowed(pki: PkiTree) -> None:
    found = din(pki).read("CurrentDemandReq").bears
    assert found is not None
    assert found.charge_w == 0


@pytest.mark.parametrize(
    ("mode", "amperes", "charge_w"), [("single", 16, 3_680), ("three", 16, 11_040), ("three", -1, 0)]
)
def test_the_current_of_all_phases(pki: PkiTree, mode: str, amperes: int, charge_w: int) -> None:
    bench = Iso2Bench(pki, NOW_MS, alternating=True)
    reading = Reading(bench, Iso2().reader(CONFIG_2, interop=False))
    found = reading.read(
        "ChargeParameterDiscoveryReq",
        requested_energy_transfer_mode=EnergyTransferMode[f"AC_{mode}_phase_core"],
        ev_charge_parameter=bench.ac_parameters(ev_max_current=bench.amperes(amperes)),
    ).bears
    assert found is not None
    assert found.charge_w == charge_w
    assert found.charge_ma == max(0, amperes) * 1000, "of each conductor"


@pytest.mark.parametrize(
    ("value", "multiplier", "charge_w"),
    [(1_239, -1, 123), (32_767, -3, 32), (7, 0, 7), (7, 3, 7_000), (32_767, 3, 32_767_000)],
)
def test_powers_of_ten(pki: PkiTree, value: int, multiplier: int, charge_w: int) -> None:
    reading = din(pki)
    power = replace(reading.bench.values.power(1, Rounding.DOWN), value=value, multiplier=multiplier)
    parameters = reading.bench.parameters(ev_maximum_power_limit=power)
    reading.read("ChargeParameterDiscoveryReq", ev_charge_parameter=parameters)
    found = reading.read("CurrentDemandReq", ev_maximum_power_limit=power).bears
    assert found is not None
    assert found.charge_w == charge_w


def test_no_current_is_more_than_unbounded(pki: PkiTree) -> None:
    reading = din(pki)
    most = replace(reading.bench.amperes(1), value=32_767, multiplier=3)
    parameters = reading.bench.parameters(ev_maximum_current_limit=most)
    found = reading.read("ChargeParameterDiscoveryReq", ev_charge_parameter=parameters).bears
    assert found is not None
    assert found.charge_ma == UNBOUNDED
