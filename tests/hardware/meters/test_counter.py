"""Energy of a flow, to the mV x mA x ms."""

from v2g.hardware.meters.plausibility import PER_MWH, EnergyCounter


def test_what_flows_counts_from_when_it_is_known_in_its_direction() -> None:
    counter = EnergyCounter()
    assert (counter.voltage_mv, counter.current_ma, counter.power_w, counter.mwh) == (0, 0, 0, (0, 0))
    counter.flow(1_000, 400_000, 9_000)
    assert (counter.power_w, counter.imported, counter.exported) == (3_600, 0, 0)
    counter.advance(1_001)
    assert (counter.imported, counter.mwh) == (PER_MWH, (1, 0))
    counter.flow(1_003, 400_000, -9_000)
    assert (counter.power_w, counter.imported) == (-3_600, 3 * PER_MWH)
    counter.advance(1_004)
    assert (counter.imported, counter.exported, counter.mwh) == (3 * PER_MWH, PER_MWH, (3, 1))
    counter.flow(1_004, 400_000, 0)
    counter.advance(9_000)
    assert counter.mwh == (3, 1)


def test_a_time_that_goes_back_counts_nothing_and_is_not_counted_again() -> None:
    counter = EnergyCounter()
    counter.flow(1_000, 400_000, 9_000)
    counter.advance(500)
    counter.advance(1_000)
    assert counter.mwh == (0, 0)
    counter.advance(1_002)
    assert counter.mwh == (2, 0)


def test_a_time_before_0_is_one_too() -> None:
    counter = EnergyCounter()
    counter.flow(-5, 400_000, 9_000)
    counter.advance(0)
    counter.advance(1)
    assert counter.mwh == (6, 0)


def test_registers_go_on_from_what_was_stored() -> None:
    counter = EnergyCounter(5 * PER_MWH + 1, 7 * PER_MWH - 1)
    assert counter.mwh == (5, 6)


def test_the_smallest_energy_counts() -> None:
    counter = EnergyCounter()
    counter.flow(0, 1, 1)
    counter.advance(1)
    assert (counter.imported, counter.exported) == (1, 0)


def test_a_power_is_in_whole_watts() -> None:
    counter = EnergyCounter()
    counter.flow(0, 1_000_000, 2_000_000)
    assert counter.power_w == 2_000_000
