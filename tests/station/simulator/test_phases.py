"""Simulated EVSEs with alternating current: each conductor within its limit, and none under load while they change."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2g_station.blocks.evse import AllowPower, Power
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.smart_charging.smart_charging import SetPhases
from v2g_station.blocks.transaction_records import meter_value
from v2g_station.kernel.layout import StationLayout, station_variables
from v2g_station.simulator.behaviour import QUIET, Behaviour, Departing, SimulatedSite

PAUSE_MS = 10_000
THREE = msgspec.structs.replace(
    QUIET, phases=3, phase_switch=True, bidirectional=1.0, vehicle_kw=(11.04, 11.04), energy_kwh=(5.0, 900.0)
)


def charging(vehicle: str = "plug 1") -> SimulatedSite:
    """A site whose vehicle charges since 0 ms."""
    site = SimulatedSite(THREE, (22_080,), 0, lambda: 0.5)
    facts = [*site.do(vehicle, 0), *site.command(AllowPower(evse_id=1, allowed=True), 0)]
    assert Power(evse_id=1, state="Charging", phases=3) in facts
    return site


def amperes(site: SimulatedSite, now_ms: int) -> list[float]:
    """Return the currents of L1 to L3."""
    sample = site.read(1, now_ms)
    assert sample is not None
    assert sample.power_w == pytest.approx(sum(sample.line_w), abs=1)
    return [round(each, 2) for each in sample.line_a]


@pytest.mark.requirement("R192")
def test_the_last_request_counts_and_the_vehicle_has_no_mains_meanwhile() -> None:
    site = charging()
    assert list(site.command(SetPhases(evse_id=1, lines=(1,)), 0)) == [Power(evse_id=1, state="SuspendedEVSE")]
    list(site.command(SetPhases(evse_id=1, lines=(2,)), 4_000))
    assert site.due() == 4_000 + PAUSE_MS
    assert (list(site.advance(PAUSE_MS)), amperes(site, PAUSE_MS)) == ([], [0, 0, 0])
    assert list(site.advance(14_000)) == [Power(evse_id=1, state="Charging", phases=1)]
    assert amperes(site, 14_000) == [0, 0, 16]
    assert list(site.command(SetPhases(evse_id=1, lines=(2,)), 15_000)) == []
    assert list(site.started(16_000))
    assert amperes(site, 16_000) == [16, 16, 16], "a station that starts uses all of them"


def test_a_free_evse_changes_at_once() -> None:
    site = SimulatedSite(THREE, (22_080,), 0, lambda: 0.5)
    assert list(site.command(SetPhases(evse_id=1, lines=(0,)), 0)) == []
    facts = [*site.do("plug 1", 1), *site.command(AllowPower(evse_id=1, allowed=True), 1)]
    assert Power(evse_id=1, state="Charging", phases=1) in facts
    assert amperes(site, 1) == [16, 0, 0]


def test_needs_name_the_power_of_each_conductor() -> None:
    site = charging("vehicle 1 dynamic")
    bay = site.bays[1]
    (fact,) = (each for each in site.do("needs 1", 0) if isinstance(each, Departing))
    assert (fact.needs.service, fact.needs.line_charge_w, fact.needs.line_discharge_w) == (
        "AC_BPT", (3_680,) * 3, (3_680,) * 3,
    )  # fmt: skip
    assert (fact.needs.max_current_ma, fact.needs.max_charge_w) == (16_000, 11_040)
    assert site.serves(1, ("AC_three_phase",))
    assert not site.serves(1, ("DC_BPT",))
    assert bay.service == "AC_BPT"


lines = st.sampled_from([(0,), (1,), (2,), (0, 1, 2)])
apart = st.none() | st.tuples(*[st.floats(0, 32)] * 3)


@pytest.mark.requirement("R192")
@given(st.lists(st.tuples(st.integers(0, 15_000), st.one_of(lines, apart), st.booleans()), max_size=12))
def test_no_conductor_carries_more_than_it_may_nor_anything_in_a_pause(steps: list[tuple[int, Any, bool]]) -> None:
    site, now_ms, opened_ms = charging("vehicle 1 dynamic"), 0, -PAUSE_MS
    used: tuple[int, ...] = (0, 1, 2)
    allowance = ProfileLimits()
    for pause_ms, change, discharging in steps:
        now_ms += pause_ms
        list(site.advance(now_ms))
        if change in ((0,), (1,), (2,), (0, 1, 2)):
            opened_ms, used = (opened_ms, used) if change == used else (now_ms, change)
            list(site.command(SetPhases(evse_id=1, lines=change), now_ms))
        else:
            both = {"charge_lines_a": change, "discharge_lines_a": change} if change else {}
            allowance = ProfileLimits(evse_id=1, **both, setpoint_w=-9_000 if discharging else None)
            list(site.command(allowance, now_ms))
        for line, carried in enumerate(amperes(site, now_ms)):
            if now_ms - opened_ms < PAUSE_MS or line not in used:
                assert carried == 0
            most = allowance.charge_lines_a[line] if allowance.charge_lines_a else 16.0
            assert abs(carried) <= min(16.0, most) + 0.01


def test_a_switch_needs_three_phases() -> None:
    with pytest.raises(msgspec.ValidationError, match="phase_switch needs phases = 3"):
        msgspec.convert({"phases": 1, "phase_switch": True}, Behaviour)


def test_a_vehicle_that_comes_by_itself_feeds_back_by_the_evse_s_own_service() -> None:
    """Also the next one, after one whose service was changed to charging only."""
    site = SimulatedSite(msgspec.structs.replace(THREE, arrivals_per_hour=1.0), (22_080,), 0, lambda: 0.5)
    now_ms = 0
    for changed in ("AC", "AC_BPT"):
        now_ms = site.due()
        list(site.advance(now_ms))
        facts = list(site.command(AllowPower(evse_id=1, allowed=True), now_ms))
        (fact,) = (each for each in facts if isinstance(each, Departing))
        assert (fact.needs.service, fact.needs.max_discharge_w) == ("AC_BPT", 11_040)
        list(site.command(AllowPower(evse_id=1, allowed=False, energy_transfer=(changed,)), now_ms))
        assert site.bays[1].service == changed
        list(site.do("unplug 1", now_ms))


@pytest.mark.parametrize("phases", [0, 3])
def test_each_measurand_that_a_station_lists_is_delivered_by_its_meter(phases: int) -> None:
    listed = {
        each.key: frozenset(each.values.split(","))
        for each in station_variables(StationLayout())
        if "TxUpdatedMeasurands" in each.key or each.key == "AlignedDataCtrlr.Measurands"
    }
    site = SimulatedSite(
        msgspec.structs.replace(THREE, phases=phases, phase_switch=phases == 3), (22_080,), 0, lambda: 0.5
    )
    list(site.do("plug 1", 0))
    list(site.command(AllowPower(evse_id=1, allowed=True), 0))
    sample = site.read(1, 60_000)
    assert sample is not None
    assert listed
    for measurands in listed.values():
        value = meter_value(msgspec.structs.replace(sample, setpoint_w=5000.0), "Trigger", measurands)
        assert {each.measurand for each in value.sampled_value} == measurands - {"SoC"}, "that is the vehicle's"
        (amperes,) = (each.value for each in value.sampled_value if (each.measurand, each.phase) == CURRENT)
        assert amperes * (230 if phases else 400) == pytest.approx(sample.power_w, rel=0.01)


CURRENT = ("Current.Import", None)
