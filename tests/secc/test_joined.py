"""A charger and a vehicle joined in memory run whole sessions, and the charger's books prove them."""

import asyncio
from pathlib import Path

import pytest

from evcc.session.settings import DischargeConfig, ProgramStep, ServiceConfig, SessionConfig
from pki_tools.tree import PkiTree
from secc.hardware.simulated import SimulatedEvseConfig
from secc.session import ports
from tests.secc.joined import Joined
from v2g.energy.limits import OPERATOR, Limit
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.proof import prove_discharge
from v2g.energy.signed import Party
from v2g.observe import Observe

SIGNED = DischargeConfig(command_validity_ms=300_000, command_renew_ms=150_000)
BOTH_WAYS = (ProgramStep(do="charge", energy_wh=700), ProgramStep(do="discharge", energy_wh=700))


@pytest.fixture
def joined(pki: PkiTree, tmp_path: Path) -> Joined:
    """Return a pair that charges and then discharges by signed commands."""
    joined = Joined(pki, tmp_path)
    joined.evcc_config = SessionConfig(program=BOTH_WAYS, discharge=SIGNED)
    return joined


def proof(joined: Joined) -> object:
    entries = verify_lines(b"".join(joined.lines))
    return prove_discharge(
        entries,
        charger=Party.of(joined.pki.chain("secc")[0]),
        vehicle=Party.of(joined.pki.chain("contract")[0]),
    )


async def test_charge_discharge_confirm_and_prove(joined: Joined) -> None:
    assert await joined.run() == ("finished", "finished")
    proved = proof(joined)
    assert proved.covered  # type: ignore[attr-defined]
    assert 650_000 < proved.export_mwh < 900_000  # type: ignore[attr-defined]
    assert joined.meter.read(0).import_mwh > 700_000
    assert joined.named("decided")[0]["latency_ms"] < 500
    assert joined.commands[-1] == ports.TransactionEnded(
        joined.named("session_ended")[0]["session_id"],
        "vehicle",
        "Local",
        joined.commands[-1].soc,  # type: ignore[attr-defined]
    )
    assert not joined.evse.contactors_closed


async def test_a_lowered_export_limit_lowers_power_in_the_run(joined: Joined) -> None:
    def lower(side: str, event: Observe) -> None:
        if side == "secc" and event.data.get("direction") == "discharging" and not joined.named("limit_changed"):
            limit = Limit(source=OPERATOR, charge_w=40_000, discharge_w=4_000, version=2)
            asyncio.get_running_loop().call_soon(joined.secc.fact, ports.LimitChanged(limit))

    joined.on_event = lower
    assert await joined.run() == ("finished", "finished")
    outputs = [each.discharge_w for each in joined.commands if isinstance(each, ports.SetOutput)]
    assert max(outputs) == 10_000
    assert max(outputs[outputs.index(4_000) :]) == 4_000
    proof(joined)


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
    joined: Joined, services: ServiceConfig, service: str, mode: str
) -> None:
    joined.evcc_config = SessionConfig(program=BOTH_WAYS[:1], services=services)
    assert await joined.run() == ("finished", "finished")
    selected = joined.named("selected")[0]
    assert (selected["service"], selected["control_mode"]) == (service, mode)
    assert joined.meter.read(0).import_mwh > 650_000
    assert joined.meter.read(0).export_mwh == 0


async def test_a_refused_contract_moves_no_energy(joined: Joined) -> None:
    joined.authorize = ports.AuthorizationStatus.REFUSED
    secc, evcc = await joined.run()
    assert secc != "finished" or evcc != "finished"
    assert joined.named("refused")[0]["code"] == "WARNING_GeneralPnCAuthorizationError"
    assert joined.meter.read(0).import_mwh == 0
    assert joined.lines == []


async def test_a_failed_cable_check_stops_both(joined: Joined) -> None:
    joined.evse_config = SimulatedEvseConfig(insulation_ohm=1)
    secc, evcc = await joined.run()
    assert (secc, evcc) == ("isolation_low", "FAILED")
    offs = [each for each in joined.commands if isinstance(each, ports.EmergencyOff)]
    assert offs == [ports.EmergencyOff("isolation_low")]


@pytest.mark.parametrize("side", ["secc", "evcc"])
async def test_either_side_may_break_off_and_the_other_stops_too(joined: Joined, side: str) -> None:
    def abort(where: str, event: Observe) -> None:
        if event.name == "command_accepted" and where == "secc":
            asyncio.get_running_loop().call_soon(getattr(joined, side).abort, "pulled")

    joined.on_event = abort
    ends = await joined.run()
    assert ends[["secc", "evcc"].index(side)] == "pulled"
    assert not joined.evse.contactors_closed
    assert not joined.vehicle.contactor_closed
    proof(joined)


async def test_a_remote_stop_ends_the_session_in_order(joined: Joined) -> None:
    def stop(side: str, event: Observe) -> None:
        if side == "secc" and event.name == "response" and len(joined.named("response")) == 3:
            asyncio.get_running_loop().call_soon(joined.secc.fact, ports.StopRequested("remote"))

    joined.on_event = stop
    assert await joined.run() == ("finished", "finished")
    assert joined.named("session_ended")[0]["reason"] == "remote"
