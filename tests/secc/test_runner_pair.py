"""A charger and a vehicle joined in memory run whole sessions, and the charger's journal proves them."""

import asyncio
from pathlib import Path

import pytest

from evcc.session.settings import DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session import ports
from tests.secc.runner_pair import RunnerPair
from v2g.energy.limits import OPERATOR, Limit
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.proof import prove_discharge
from v2g.energy.signed import Party
from v2g.observe import Observe
from v2g_station.blocks.authorization.contracts import AuthorizationStatus

SIGNED = DischargeConfig(command_validity_ms=300_000, command_renew_ms=150_000)
BOTH_WAYS = (ProgramStep(do="charge", energy_wh=700), ProgramStep(do="discharge", energy_wh=700))


@pytest.fixture
def runners(pki: PkiTree, tmp_path: Path) -> RunnerPair:
    """Return a pair that charges and then discharges by signed commands."""
    runners = RunnerPair(pki, tmp_path)
    runners.evcc_config = SessionConfig(program=BOTH_WAYS, discharge=SIGNED)
    return runners


def proof(runners: RunnerPair) -> object:
    entries = verify_lines(b"".join(runners.lines))
    return prove_discharge(
        entries,
        charger=Party.of(runners.pki.chain("secc")[0]),
        vehicle=Party.of(runners.pki.chain("contract")[0]),
    )


async def test_charge_discharge_confirm_and_prove(runners: RunnerPair) -> None:
    assert await runners.run() == ("finished", "finished")
    proved = proof(runners)
    assert proved.covered  # type: ignore[attr-defined]
    assert 650_000 < proved.export_mwh < 900_000  # type: ignore[attr-defined]
    assert runners.meter.read(0).import_mwh > 700_000
    assert runners.named("decided")[0]["latency_ms"] < 500
    assert runners.commands[-1] == ports.TransactionEnded(
        runners.named("session_ended")[0]["session_id"],
        "vehicle",
        "StoppedByEV",
        runners.commands[-1].soc,  # type: ignore[attr-defined]
    )
    assert not runners.evse.contactors_closed


async def test_a_lowered_export_limit_lowers_power_in_the_run(runners: RunnerPair) -> None:
    def lower(side: str, event: Observe) -> None:
        if side == "secc" and event.data.get("direction") == "discharging" and not runners.named("limit_changed"):
            limit = Limit(source=OPERATOR, charge_w=40_000, discharge_w=4_000, version=2)
            asyncio.get_running_loop().call_soon(runners.secc.fact, ports.GridChanged((limit,)))

    runners.on_event = lower
    assert await runners.run() == ("finished", "finished")
    outputs = [each.discharge_w for each in runners.commands if isinstance(each, ports.SetOutput)]
    assert max(outputs) == 10_000
    assert max(outputs[outputs.index(4_000) :]) == 4_000
    proof(runners)


@pytest.mark.parametrize(
    ("services", "service", "mode"),
    [
        (ServiceConfig(control_mode=("scheduled",)), "DC_BPT", "Scheduled"),
        (ServiceConfig(energy=("DC",)), "DC", "Dynamic"),
        (ServiceConfig(energy=("DC",), control_mode=("scheduled",)), "DC", "Scheduled"),
        (ServiceConfig(signed_discharge=False), "DC_BPT", "Dynamic"),
    ],
    ids=str,
)
async def test_every_service_and_control_mode_charges(
    runners: RunnerPair, services: ServiceConfig, service: str, mode: str
) -> None:
    runners.evcc_config = SessionConfig(program=BOTH_WAYS[:1], services=services)
    assert await runners.run() == ("finished", "finished")
    selected = runners.named("selected")[0]
    assert (selected["service"], selected["control_mode"]) == (service, mode)
    assert runners.meter.read(0).import_mwh > 650_000
    assert runners.meter.read(0).export_mwh == 0


async def test_a_refused_contract_moves_no_energy(runners: RunnerPair) -> None:
    runners.authorize = AuthorizationStatus.REFUSED
    secc, evcc = await runners.run()
    assert secc != "finished" or evcc != "finished"
    assert runners.named("refused")[0]["code"] == "WARNING_GeneralPnCAuthorizationError"
    assert runners.meter.read(0).import_mwh == 0
    assert runners.lines == []


async def test_a_failed_cable_check_stops_both(runners: RunnerPair) -> None:
    runners.evse_config = SimulatedEvseConfig(insulation_ohm=1)
    secc, evcc = await runners.run()
    assert (secc, evcc) == ("isolation_low", "FAILED")
    offs = [each for each in runners.commands if isinstance(each, ports.EmergencyOff)]
    assert offs == [ports.EmergencyOff("isolation_low")]


@pytest.mark.parametrize("side", ["secc", "evcc"])
async def test_either_side_may_break_off_and_the_other_stops_too(runners: RunnerPair, side: str) -> None:
    def abort(where: str, event: Observe) -> None:
        if event.name == "command_accepted" and where == "secc":
            asyncio.get_running_loop().call_soon(getattr(runners, side).abort, "pulled")

    runners.on_event = abort
    ends = await runners.run()
    assert ends[["secc", "evcc"].index(side)] == "pulled"
    assert not runners.evse.contactors_closed
    assert not runners.vehicle.contactor_closed
    proof(runners)


async def test_a_remote_stop_ends_the_session_in_order(runners: RunnerPair) -> None:
    def stop(side: str, event: Observe) -> None:
        if side == "secc" and event.name == "response" and len(runners.named("response")) == 3:
            asyncio.get_running_loop().call_soon(runners.secc.fact, ports.StopRequested("remote"))

    runners.on_event = stop
    assert await runners.run() == ("finished", "finished")
    assert runners.named("session_ended")[0]["reason"] == "remote"
