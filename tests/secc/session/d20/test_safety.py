"""What messages of ISO 15118-20 mean to the safety monitor."""

from typing import Any

import pytest

from secc.session.config import SeccConfig
from secc.session.d20.safety import Iso20Requests
from tests.secc.session.bench import Bench, number
from v2g.iso15118.d20.messages.ac import (
    AC_ChargeParameterDiscoveryReq,
    AC_CPDReqEnergyTransferMode,
    BPT_AC_CPDReqEnergyTransferMode,
)
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.messages.dc import DC_CableCheckReq
from v2g.iso15118.d20.timing import MESSAGES
from v2g.iso15118.engine.v2gtp import PayloadType
from v2g.safety import UNBOUNDED, ChargerMonitor, ChargerRating, Open, Output, Phase, Request, Verdict

HEADER = MessageHeader(session_id=bytes(8), time_stamp=0)

pytestmark = pytest.mark.requirement("R15")


def test_a_vehicle_that_falls_silent_ends_the_session_before_the_monitor_calls_it_a_fault() -> None:
    """The session counts from its answer, which may be late, the monitor from the request."""
    timing = SeccConfig().timing
    said = DC_CableCheckReq(header=HEADER)
    request = Iso20Requests(SeccConfig()).read(said, PayloadType.DC)
    assert request.closed_s >= timing.secc_sequence + MESSAGES["DC_CableCheckReq"].performance


@pytest.mark.parametrize(("volts", "borne_mv"), [(512, 450_000), (450, 450_000), (420, 420_000)])
def test_no_voltage_above_that_with_which_the_insulation_was_tested(bench: Bench, volts: int, borne_mv: int) -> None:
    reader = Iso20Requests(SeccConfig())
    reader.read(bench.ask("DC_ChargeParameterDiscoveryReq"), PayloadType.DC)
    for voltage, expected_mv in ((volts, borne_mv), (440, 440_000), (450, 450_000)):
        mode = bench.loop_mode(ev_maximum_voltage=number(voltage))
        found = reader.read(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode), PayloadType.DC).bears
        assert found is not None
        assert found.voltage_mv == expected_mv


@pytest.mark.parametrize(
    ("watts", "charge_w", "charge_ma"),
    [((7_360,), 7_360, 37_647), ((3_680, 7_360), 11_040, 37_647), ((3_680, 3_680, 3_680), 11_040, 18_823)],
)
def test_the_power_of_each_phase_is_a_current_of_a_conductor(
    watts: tuple[int, ...], charge_w: int, charge_ma: int
) -> None:
    """At 85 % of the nominal voltage (195.5 V). Only the sum: all of it may flow in one conductor."""
    powers = dict(zip(("", "_l2", "_l3"), watts, strict=False))
    fields: dict[str, Any] = {f"ev_maximum_charge_power{phase}": number(each) for phase, each in powers.items()}
    least: dict[str, Any] = {f"ev_minimum_charge_power{phase}": number(0) for phase in powers}
    back: dict[str, Any] = {f"ev_maximum_discharge_power{phase}": number(-each) for phase, each in powers.items()}
    least_back: dict[str, Any] = {f"ev_minimum_discharge_power{phase}": number(0) for phase in powers}
    one_way = AC_CPDReqEnergyTransferMode(**fields, **least)
    both_ways = BPT_AC_CPDReqEnergyTransferMode(**fields, **least, **back, **least_back)
    for mode, discharge_ma in ((one_way, UNBOUNDED), (both_ways, charge_ma)):
        request = AC_ChargeParameterDiscoveryReq(header=HEADER, ac_cpd_req_energy_transfer_mode=mode)
        found = Iso20Requests(SeccConfig()).read(request, PayloadType.AC).bears
        assert found is not None
        assert (found.charge_w, found.charge_ma, found.discharge_ma) == (charge_w, charge_ma, discharge_ma)


def test_a_phase_that_may_not_charge_gives_no_current_to_the_others() -> None:
    given = {"": 3_680, "_l2": 3_680, "_l3": -7_360}
    fields: dict[str, Any] = {f"ev_maximum_charge_power{phase}": number(each) for phase, each in given.items()}
    fields |= {f"ev_minimum_charge_power{phase}": number(-7_360) for phase in given}
    mode = AC_CPDReqEnergyTransferMode(**fields)
    request = AC_ChargeParameterDiscoveryReq(header=HEADER, ac_cpd_req_energy_transfer_mode=mode)
    found = Iso20Requests(SeccConfig()).read(request, PayloadType.AC).bears
    assert found is not None
    assert (found.charge_w, found.charge_ma) == (0, 18_823)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("line_ma", "opens"), [(34_000, []), (35_000, [Open("power_not_obeyed")])])
def test_a_vehicle_that_bears_more_at_a_low_voltage_is_cut_off_above_the_rating_of_a_conductor(
    line_ma: int, sign: int, opens: list[Open]
) -> None:
    """It bears 37.6 A by its power, the conductor 32 A and a tolerance of 2.25 A; 35 A at 196 V are 6.9 kW of 22 kW."""
    fields: dict[str, Any] = {"ev_maximum_charge_power": number(7_360), "ev_minimum_charge_power": number(0)}
    back: dict[str, Any] = {"ev_maximum_discharge_power": number(-7_360), "ev_minimum_discharge_power": number(0)}
    mode = BPT_AC_CPDReqEnergyTransferMode(**fields, **back)
    said = AC_ChargeParameterDiscoveryReq(header=HEADER, ac_cpd_req_energy_transfer_mode=mode)
    rating = ChargerRating(charge_w=22_000, discharge_w=22_000, charge_ma=32_000, discharge_ma=32_000, follow_s=5.0)
    monitor = ChargerMonitor(rating)
    monitor.begin(0.0)
    monitor.authorise(0.0, allowed=True)
    monitor.discharge("standard", 0.0)
    monitor.request(Iso20Requests(SeccConfig()).read(said, PayloadType.AC), 0.0)
    monitor.request(Request(phase=Phase.POWER, power_s=100.0, closed_s=100.0), 0.0)
    assert monitor.close(0.0)
    monitor.feedback(0.0, closed=True)
    passed = monitor.drive(Output(7_360, 0) if sign > 0 else Output(0, 7_360), 0.0)
    assert (passed.charge_ma, passed.discharge_ma) == (32_000, 32_000)
    found: list[Verdict] = []
    for tick in range(1, 100):
        monitor.drawn(sign * line_ma * 196 // 1000, tick / 10, (sign * line_ma, 0, 0))
        found = found or monitor.verdicts()
    assert found == opens


@pytest.mark.parametrize(("raises", "borne"), [(False, (20_000, 60_000, 450_000)), (True, (150_000, 200_000, 450_000))])
def test_a_loop_raises_powers_and_currents_where_that_is_configured_and_the_voltage_never(
    bench: Bench, raises: bool, borne: tuple[int, int, int]
) -> None:
    reader = Iso20Requests(SeccConfig(raised_limits=raises))
    reader.read(bench.ask("DC_ChargeParameterDiscoveryReq"), PayloadType.DC)
    mode = bench.loop_mode(
        ev_maximum_voltage=number(600), ev_maximum_charge_current=number(200), ev_maximum_charge_power=number(150_000)
    )
    found = reader.read(bench.ask("DC_ChargeLoopReq", cl_req_control_mode=mode), PayloadType.DC).bears
    assert found is not None
    assert (found.charge_w, found.charge_ma, found.voltage_mv) == borne
