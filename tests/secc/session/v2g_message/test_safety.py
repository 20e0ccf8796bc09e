"""What messages of ISO 15118-2 and DIN 70121 mean to the safety monitor."""

from typing import Any

import pytest

from pki_tools.tree import PkiTree
from secc.session.d2.edition import Iso2
from secc.session.din.edition import Din
from tests.secc.session.d2.bench import CONFIG as CONFIG_2
from tests.secc.session.d2.bench import Iso2Bench, amperes, watts
from tests.secc.session.din.bench import CONFIG as CONFIG_DIN
from tests.secc.session.din.bench import DinBench
from v2g.iso15118.d2.messages.data_types import ChargeProgress
from v2g.safety import Phase, Request

NOW_MS = 1_790_000_000_000


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
    loop = reading.read("ChargingStatusReq" if is_ac(reading) else "CurrentDemandReq")
    assert started.power_s == loop.power_s == (60.0 if is_ac(reading) else 2.0)
    assert loop.closed_s == 60.0


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
        assert (found.phase, found.power_s, found.closed_s) == (None, 0.0, 60.0)
    for name in ("CableCheckReq", "PreChargeReq"):
        found = reading.read(name)
        assert (found.phase, found.power_s, found.closed_s) == (Phase.VOLTAGE, 0.0, 60.0)
    assert reading.read("PowerDeliveryReq").phase is Phase.POWER
    assert reading.read("ChargeParameterDiscoveryReq").phase is Phase.IDLE
