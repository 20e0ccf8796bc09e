"""Field truth as a gate: every recording of real devices is replayed at both roles, at the recorded pace.

No session ends that went on in the field. It may end where the recorded charger refused or demanded the end, or by a
rule that `LISTED` names for that recording with its source. A new recording in `tests/vectors/din70121` is a case by
itself.
"""

from collections.abc import Iterator
from typing import Any, Final

import pytest
from msgspec.structs import replace

from evcc.policy.battery import BatteryConfig
from evcc.session.ports import CloseContactor
from pki_tools.tree import PkiTree
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import SHORT
from tests.iso15118.din.recordings import ABB, NAMES, Recorded, recording
from tests.secc.session.din.bench import DinBench as ChargerBench
from v2g import exi
from v2g.iso15118.din.charts import CHART
from v2g.iso15118.engine.app_protocol import SupportedAppProtocolReq
from v2g.iso15118.engine.dc_status import Demand, demand
from v2g.iso15118.engine.judging_rules import RULES
from v2g.iso15118.engine.physical_values import millivolts
from v2g.iso15118.engine.sequence import accepts, is_failed
from v2g.iso15118.engine.v2gtp import PayloadType, frame

pytestmark = pytest.mark.requirement("R197")

LISTED: Final = {
    (ABB, "charger", "FAILED_SequenceError"): "V2G2-538: the experimental vehicle leaves out ContractAuthentication"
}
"""Recording, role that replays it, and its end -> the source of the rule."""

DEMANDED: Final = frozenset(
    {"evse_emergency_shutdown", "evse_malfunction", "evse_utility_interrupt", "evse_terminated", "finished"}
)
LONGEST_S: Final = 30.0
"""Longest pause of a recorded device that is replayed, s: people stood between."""

CONNECTIONS: Final = [
    (name, number) for name in NAMES for number in sorted({each.connection for each in recording(name)})
]
EVERY: Final = pytest.mark.parametrize(("name", "connection"), CONNECTIONS)
POLLS: Final = ("ContractAuthenticationReq", "ChargeParameterDiscoveryReq", "CableCheckReq")


def of(name: str, connection: int) -> list[Recorded]:
    return [each for each in recording(name) if each.connection == connection]


def answers(name: str, connection: int) -> Iterator[tuple[Recorded, float]]:
    """Yield the charger's messages with how long each took."""
    asked_at = 0.0
    for each in of(name, connection):
        if each.sender == "vehicle":
            asked_at = each.t
        else:
            yield each, min(LONGEST_S, each.t - asked_at)


def demanded(name: str, connection: int) -> bool:
    """Return whether the recorded charger demands the end by its status."""
    statuses = (getattr(each.body, "dc_evse_status", None) for each, _ in answers(name, connection))
    return any(each is not None and demand(each) in (Demand.STOP, Demand.STOP_NOW) for each in statuses)


def battery(name: str, connection: int) -> BatteryConfig:
    """Return a battery with the voltage that the recorded vehicle asked for, and its maximum."""
    targets = [each.body.ev_target_voltage for each in of(name, connection) if hasattr(each.body, "ev_target_voltage")]
    limits = [each.body.ev_charge_parameter.ev_maximum_voltage_limit for each in of(name, connection)
              if hasattr(each.body, "ev_charge_parameter")]  # fmt: skip
    volts = millivolts(targets[0]) / 1000 if targets else 380.0
    most = millivolts(limits[-1]) / 1000 if limits else volts + 20
    return BatteryConfig(
        soc=50.0,
        ocv=((0.0, volts - 1), (100.0, volts + 1)),
        min_voltage_v=volts / 2,
        max_voltage_v=max(most, volts + 2),
    )


@EVERY
def test_a_recorded_charger_keeps_our_vehicle(name: str, connection: int) -> None:
    """The charger's output is what it reported, at the time that it took."""
    bench = DinBench(SHORT, battery=battery(name, connection))
    left = list(answers(name, connection))
    refusals = {each.body.response_code.name for each, _ in left if is_failed(each.body)}
    over = False

    def step() -> None:
        nonlocal over
        if not bench.unanswered:
            bench.wait()
            return
        wanted = type(bench.unanswered.pop(0)).__name__.removesuffix("Req") + "Res"
        while left and type(left[0][0].body).__name__ != wanted:
            left.pop(0)
        over = not left
        if over:
            return
        recorded, seconds = left.pop(0)
        bench.pass_time(seconds)
        voltage: Any = getattr(recorded.body, "evse_present_voltage", None)
        if voltage is not None:
            bench.charger.voltage = millivolts(voltage) / 1000
        bench.battery()
        bench.receive(frame(PayloadType.SAP, recorded.payload))

    bench.step = step  # type: ignore[method-assign]
    bench.run(lambda: over or bench.now - 1000.0 > 600)
    causes = {each["cause"] for each in bench.seen("stop", "stopping")} | ({bench.closed} if bench.closed else set())
    allowed = refusals | (DEMANDED if demanded(name, connection) else set())
    allowed |= {reason for each, role, reason in LISTED if (each, role) == (name, "vehicle")}
    assert causes <= allowed, bench.seen("session", "failed")
    closes = any(getattr(each.body, "ready_to_charge_state", False) for each in of(name, connection))
    assert not closes or CloseContactor() in bench.commands or causes, "the recorded vehicle closed its contactor"


@EVERY
def test_a_recorded_vehicle_is_served_by_our_charger(pki: PkiTree, name: str, connection: int) -> None:
    """It gives its own SessionID, and answers at once with Finished where the recorded one polled."""
    din = ChargerBench(pki, 1_700_000_000_000)
    refused = {each.asked for each in of(name, connection) if each.sender == "charger" and is_failed(each.body)}
    before = None
    for each in of(name, connection):
        if each.sender != "vehicle" or din.reason:
            continue
        polls = type(each.body).__name__ in POLLS and not accepts(din.session.state, each.body, CHART)
        if polls and before is not None and any(type(known) is type(each.body) for known in (before,)):
            continue
        before = each.body
        din.pass_time(0.05)
        message, count = each.body, len(din.responses)
        if not isinstance(message, SupportedAppProtocolReq):
            message = replace(each.message, header=replace(each.message.header, session_id=(
                din.session.session_id if din.headers else each.message.header.session_id)))  # fmt: skip
        din.raw(frame(PayloadType.SAP, exi.encode(message)))
        if len(din.responses) == count:
            din.pass_time(0.5)
        response = din.responses[-1]
        if is_failed(response):
            code = response.response_code.name
            assert each.body in refused or (name, "charger", code) in LISTED, (
                type(each.body).__name__,
                code,
                din.reason,
            )
            return
    assert not din.reason or din.reason == "finished"


def test_what_is_listed_is_a_rule_with_its_source() -> None:
    named = {(each.judge, each.name) for each in RULES}
    for (name, role, reason), source in LISTED.items():
        assert name in NAMES
        assert (role, reason) in named
        assert source
