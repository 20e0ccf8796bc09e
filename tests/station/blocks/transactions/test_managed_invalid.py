"""A transaction that the charger leads and whose identifier the CSMS no longer accepts (E05, C15.FR.04)."""

import pytest

from tests.station.authorizations import says
from tests.station.bench import FIXED, Bench
from tests.station.blocks.transactions.managed_resumption import begin, lead
from v2g_station.blocks.transactions.managed import RemoteStopRequested, SuspendEnergy


def invalid(*, stop: bool, max_wh: int, **variables: str) -> Bench:
    """A contract charges, and its CSMS says that it is not valid."""
    settings = {"TxCtrlr.StopTxOnInvalidId": str(stop).lower(), "TxCtrlr.MaxEnergyOnInvalidId": str(max_wh)}
    found = Bench("2.1", evses=(FIXED,), managed=True, variables=settings | variables)
    found.answers["TransactionEvent"] = lambda p: says("Invalid") if "idToken" in p else {}
    begin(found, "a")
    return found


def wishes(found: Bench) -> list[object]:
    """What the charger was asked for."""
    return [each for each in found.commands if isinstance(each, RemoteStopRequested | SuspendEnergy)]


OFF, ON = SuspendEnergy(evse_id=1, suspended=True), SuspendEnergy(evse_id=1, suspended=False)


def test_it_is_stopped() -> None:
    """E05.FR.01."""
    assert wishes(invalid(stop=True, max_wh=10_000)) == [RemoteStopRequested(reference="a", cause="deauthorized")]


def test_or_suspended_at_once() -> None:
    """E05.FR.02."""
    found = invalid(stop=False, max_wh=0)
    assert wishes(found) == [OFF]
    found.expect("TransactionEvent", transactionInfo__chargingState="SuspendedEVSE")
    lead(found, lambda s: s.progress("a", "ChargingStateChanged", charging_state="SuspendedEV", sample=found.read(1)))
    assert wishes(found) == [OFF]


@pytest.mark.parametrize(("drawn_mwh", "expected"), [(9_999_999, []), (10_000_000, [OFF])])
def test_or_suspended_when_it_has_had_what_it_may_have(drawn_mwh: int, expected: list[object]) -> None:
    """E05.FR.03: MaxEnergyOnInvalidId counts from the refusal on."""
    found = invalid(stop=False, max_wh=10_000)
    assert wishes(found) == []
    found.meter_mwh[1] += drawn_mwh
    found.wait(61)
    assert wishes(found) == expected


def test_without_a_meter_there_is_no_more_energy() -> None:
    found = invalid(stop=False, max_wh=10_000)
    found.metered = False
    found.wait(61)
    assert wishes(found) == [OFF]


def test_whoever_comes_next_has_energy() -> None:
    found = invalid(stop=False, max_wh=0)
    lead(found, lambda s: s.finish("a", trigger="EVDeparted", reason="EVDisconnected", sample=found.read(1)))
    assert wishes(found) == [OFF, ON]


def test_the_end_of_the_session_before_gives_no_energy() -> None:
    found = invalid(stop=False, max_wh=0)
    begin(found, "b")
    lead(found, lambda s: s.finish("a", trigger="StopAuthorized", reason="Local", sample=None))
    assert wishes(found)[-1] == OFF


def test_who_has_gone_is_not_looked_after() -> None:
    found = invalid(stop=False, max_wh=10_000)
    lead(found, lambda s: s.finish("a", trigger="EVDeparted", reason="EVDisconnected", sample=found.read(1)))
    found.meter_mwh[1] += 20_000_000
    found.wait(61)
    assert wishes(found) == [ON]


def test_a_restart_does_not_forgive() -> None:
    found = invalid(stop=False, max_wh=0, **{"TxCtrlr.ResumptionTimeout": "300"})
    found.power_loss(away_s=30, same_boot=True)
    found.commands.clear()
    (record,) = found.station.sessions.records.values()  # type: ignore[attr-defined]
    found.run(found.station.resume(record, found.read(1), found.moment))
    begin(found, "b")
    assert wishes(found) == [OFF]
