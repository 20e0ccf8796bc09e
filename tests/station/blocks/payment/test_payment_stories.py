"""Whatever drivers, terminal, link and power do: nobody's money stays reserved, and nobody pays twice."""

import random
from collections import Counter
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.station.bench import Bench
from tests.station.till import Till
from v2g_station.blocks.evse import StopButton
from v2g_station.simulator.terminal import SimulatedTerminal, TerminalFaults

STEPS = (
    "card", "other card", "tag", "plug", "unplug", "flow", "stop", "cost", "drop", "back", "wait", "long", "power",
    "silent", "well",
)  # fmt: skip


def do(found: Bench, till: Till, step: str) -> None:
    """Let something happen."""
    match step:
        case "card" | "other card":
            till.present(found, card=step)
        case "tag":
            found.present()
        case "plug":
            found.plug()
        case "unplug":
            found.unplug()
        case "flow" if found.allowed():
            found.flow("Charging", wh=10)
        case "stop":
            found.fact(StopButton(evse_id=1))
        case "cost" if found.connected and found.all("TransactionEvent"):
            transaction_id = found.all("TransactionEvent")[-1]["transactionInfo"]["transactionId"]
            found.ask("CostUpdated", totalCost=47.0, transactionId=transaction_id)
        case "drop" if found.connected:
            found.drop()
        case "back":
            found.accepting = lambda _: True
        case "wait":
            found.wait(7)
        case "long":
            found.wait(130)
        case "power":
            found.power_loss()
            found.plug(vehicle=False, station=False)
        case "silent":
            till.terminal.faults = TerminalFaults(silent=1.0)
        case "well":
            till.terminal.faults = TerminalFaults(declined=0.2, rejected=0.2, unreachable=0.2)
    till.serve(found)


def answer(event: dict[str, Any]) -> dict[str, Any]:
    """The CSMS: energy costs, nothing else does."""
    if event["eventType"] != "Ended":
        return {}
    return {"totalCost": 4.5 if event["transactionInfo"].get("timeSpentCharging", 0) else 0.0}


@settings(max_examples=20, deadline=None)
@example(  # rejected, then repeated
    steps=[*["card"] * 5, "plug", "flow", "wait", "well"], asks=False, start="PowerPathClosed", seed=143_765
)
@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=25), asks=st.booleans(),
    start=st.sampled_from(["PowerPathClosed", "EVConnected"]), seed=st.integers(0, 10**6),
)  # fmt: skip
def test_money_that_was_reserved_is_taken_or_released_once(steps: list[str], asks: bool, start: str, seed: int) -> None:
    till = Till(start)
    till.terminal = SimulatedTerminal(random.Random(seed).random, TerminalFaults(declined=0.2, unreachable=0.2))
    found = till.open(variables={
        "PaymentCtrlr.AuthorizeDirectPayment": str(asks).lower(), "PaymentCtrlr.IncrementalAuthorizationAmount": "20",
    })  # fmt: skip
    found.answers["TransactionEvent"] = answer
    for step in steps:
        do(found, till, step)
    found.unplug()
    found.fact(StopButton(evse_id=1))
    found.accepting = lambda _: True
    for _ in range(8):
        found.wait(121)
        till.serve(found)
    assert found.connected
    assert not found.saved.get("payments"), "nothing is under way"
    reported = {each["pspRef"]: each for each in found.all("NotifySettlement")}
    assert max(Counter(each["pspRef"] for each in found.all("NotifySettlement")).values(), default=0) <= 1
    for psp_ref, money in till.terminal.reserved.items():
        status = reported[psp_ref]["status"] if psp_ref in reported else None
        if money.state == "taken":
            assert status in ("Settled", "Failed"), "a terminal that took it may have gone silent"
            assert money.taken <= money.amount
        elif money.state == "reserved":
            given_up = {each.data["psp_ref"] for each in found.observed if each.name == "terminal_gave_up"}
            assert status in ("Rejected", "Failed") or psp_ref in given_up
        else:
            assert status in ("Canceled", None)
