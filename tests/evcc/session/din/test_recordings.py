"""Recorded chargers answer our vehicle, as far as the recordings go (tests/vectors/din70121/README.md).

The recorded vehicle was another one: the charger's answers come in their order, and at once, and its output is the
voltage that it reported.
"""

from collections import deque
from typing import Any, Final

import pytest

from evcc.policy.battery import BatteryConfig
from evcc.session.ports import CloseContactor
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import SHORT
from tests.iso15118.din.test_recordings import (
    ABB,
    ALPITRONIC,
    BULB,
    COMPLEO,
    IONIQ,
    MODEL_Y,
    TESLA_CHARGER,
    recording,
)
from v2g.iso15118.engine.physical_values import millivolts
from v2g.iso15118.engine.v2gtp import PayloadType, frame


class Replay(DinBench):
    """A vehicle with a battery of this voltage (V), and the charger of one recorded connection."""

    def __init__(self, name: str, connection: int, volts: float) -> None:
        curve = ((0.0, volts - 1), (100.0, volts + 1))
        battery = BatteryConfig(soc=50.0, ocv=curve, min_voltage_v=volts - 50, max_voltage_v=volts + 50)
        super().__init__(SHORT, battery=battery)
        self.left = deque(
            each for each in recording(name) if each.sender == "charger" and each.connection == connection
        )
        self.missing = ""

    def step(self) -> None:
        """Answer with the next recorded response of the kind; without one the replay is over."""
        if not self.unanswered:
            self.wait()
            return
        wanted = type(self.unanswered.pop(0)).__name__.removesuffix("Req") + "Res"
        while self.left and type(self.left[0].body).__name__ != wanted:
            self.left.popleft()
        if not self.left:
            self.missing = wanted
            return
        recorded = self.left.popleft()
        present: Any = getattr(recorded.body, "evse_present_voltage", None)
        if present is not None:
            self.charger.voltage = millivolts(present) / 1000
        self.battery()
        self.receive(frame(PayloadType.SAP, recorded.payload + bytes(recorded.padding)))


REPLAYS: Final = [
    (ABB, 0, 230, "", "ContractAuthenticationRes", False, set()),
    (COMPLEO, 0, 230, "", "ContractAuthenticationRes", False, set()),
    (COMPLEO, 1, 230, "", "PowerDeliveryRes", True, {"not_ready_but_finished"}),
    (BULB, 0, 230, "", "PowerDeliveryRes", False, {"not_ready_but_finished"}),
    (ALPITRONIC, 0, 230, "FAILED_SequenceError", "", True, set()),
    (TESLA_CHARGER, 0, 380, "FAILED_UnknownSession", "", False, {"session_id_length"}),
    (IONIQ, 0, 388, "", "CurrentDemandRes", True, {"evseid_text", "missing_fields"}),
    (MODEL_Y, 0, 380, "", "PreChargeRes", False, {"evseid_text"}),
]
"""Recording, connection, voltage of the battery; the vehicle's reason to end, the response that is missing, whether the
contactor has closed, and the tolerated quirks."""


@pytest.mark.parametrize(("name", "connection", "volts", "reason", "missing", "connected", "quirks"), REPLAYS)
def test_recorded_chargers(
    name: str, connection: int, volts: float, reason: str, missing: str, connected: bool, quirks: set[str]
) -> None:
    replay = Replay(name, connection, volts)
    replay.run(lambda: bool(replay.missing))
    assert (replay.closed, replay.missing) == (reason, missing)
    assert (CloseContactor() in replay.commands) is connected
    assert {each["quirk"] for each in replay.seen("session", "quirk_tolerated")} == quirks
    if reason:
        replay.assert_safe(reason)


def test_the_compleo_charger_stops_by_its_status_where_no_battery_is() -> None:
    replay = Replay(BULB, 0, 230)
    replay.run(lambda: bool(replay.missing))
    assert [each["cause"] for each in replay.seen("stop", "stopping")] == ["evse_emergency_shutdown"]
    assert not replay.requests[-1].ready_to_charge_state


def test_what_the_alpitronic_charger_offers() -> None:
    """32.767 kW in its schedule stand for more: its limits are those of the charger."""
    replay = Replay(ALPITRONIC, 0, 230)
    replay.run()
    assert replay.seen("schedule", "agreed")[0]["tuple_id"] == 1
    assert replay.seen("power", "wish")[0]["charge_w"] > 0
