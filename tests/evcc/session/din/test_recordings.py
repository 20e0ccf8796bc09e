"""Recorded chargers answer our vehicle, as far as the recordings go (tests/vectors/din70121/README.md).

The recorded vehicle was another one: the charger's answers come in their order, and at once, and its output is the
voltage that it reported.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from evcc.policy.battery import BatteryConfig
from evcc.session.ports import CloseContactor
from tests.evcc.session.din.charger import DinBench
from tests.evcc.session.message_bench import SHORT
from tests.iso15118.din.recordings import ABB, ALPITRONIC, BULB, COMPLEO, IONIQ, MODEL_Y, TESLA_CHARGER, recording
from tests.together import together
from v2g import exi
from v2g.iso15118.din.messages.data_types import DC_EVSEStatusCode, EVSENotification, IsolationLevel
from v2g.iso15118.engine.physical_values import millivolts
from v2g.iso15118.engine.v2gtp import PayloadType, frame


class Replay(DinBench):
    """A vehicle with a battery of this voltage (V), and the charger of one recorded connection.

    `change` returns what the charger says instead of a recorded body; `padding` zero octets follow each message.
    """

    def __init__(
        self, name: str, connection: int, volts: float, change: Callable[[Any], Any] | None = None, padding: int = 0
    ) -> None:
        curve = ((0.0, volts - 1), (100.0, volts + 1))
        battery = BatteryConfig(soc=50.0, ocv=curve, min_voltage_v=volts - 50, max_voltage_v=volts + 50)
        super().__init__(SHORT, battery=battery)
        self.left = deque(
            each for each in recording(name) if each.sender == "charger" and each.connection == connection
        )
        self.missing, self.change, self.padding = "", change, padding

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
        payload, message = recorded.payload, recorded.message
        if self.change is not None and hasattr(message, "header"):
            body = replace(message.body, body_element=self.change(recorded.body))
            payload = exi.encode(replace(message, body=body))
        self.receive(frame(PayloadType.SAP, payload + bytes(recorded.padding + self.padding)))


REPLAYS: Final = [
    (ABB, 0, 230, "", "ContractAuthenticationRes", False, set()),
    (COMPLEO, 0, 230, "", "ContractAuthenticationRes", False, set()),
    (COMPLEO, 1, 230, "", "PowerDeliveryRes", True, {"not_ready_but_finished"}),
    (BULB, 0, 230, "", "PowerDeliveryRes", False, {"not_ready_but_finished"}),
    (ALPITRONIC, 0, 230, "FAILED_SequenceError", "", True, set()),
    (TESLA_CHARGER, 0, 380, "FAILED_UnknownSession", "", False, {"session_id_length"}),
    (IONIQ, 0, 388, "", "CurrentDemandRes", True, {"evseid_text", "missing_fields", "not_ready_after_check"}),
    (MODEL_Y, 0, 380, "", "PreChargeRes", False, {"evseid_text", "not_ready_after_check"}),
]
"""Recording, connection, voltage of the battery; the vehicle's reason to end, the response that is missing, whether the
contactor has closed, and the tolerated quirks."""


@together(("name", "connection", "volts", "reason", "missing", "connected", "quirks"), REPLAYS)
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


# -- what other chargers of the kind may say --------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [1, 2, 3, 4])
def test_zero_octets_after_each_message_change_nothing(octets: int) -> None:
    replay = Replay(IONIQ, 0, 388, padding=octets)
    replay.run(lambda: bool(replay.missing))
    assert (replay.closed, replay.missing) == ("", "CurrentDemandRes")
    assert CloseContactor() in replay.commands


def in_the_loop(code: DC_EVSEStatusCode, notification: EVSENotification) -> Callable[[Any], Any]:
    def change(body: Any) -> Any:
        if type(body).__name__ != "CurrentDemandRes":
            return body
        status = replace(body.dc_evse_status, evse_status_code=code, evse_notification=notification)
        return replace(body, dc_evse_status=status)

    return change


def test_every_demand_to_stop_is_followed_and_nothing_else_is_one(subtests: pytest.Subtests) -> None:
    """Chargers of the field use the code, the notification, or both."""
    stops = {
        "EVSE_Shutdown": "evse_terminated",
        "EVSE_UtilityInterruptEvent": "evse_utility_interrupt",
        "EVSE_EmergencyShutdown": "evse_emergency_shutdown",
        "EVSE_Malfunction": "evse_malfunction",
    }
    implausible = {"EVSE_NotReady": "evse_not_ready"} | {
        each.name: "evse_status_unknown" for each in DC_EVSEStatusCode if each.name.startswith("Reserved")
    }
    for code in DC_EVSEStatusCode:
        for notification in EVSENotification:
            with subtests.test(code=code.name, notification=notification.name):
                replay = Replay(IONIQ, 0, 388, in_the_loop(code, notification))
                replay.run(lambda replay=replay: bool(replay.missing))  # type: ignore[misc]
                causes = [each["cause"] for each in replay.seen("stop", "stopping")]
                asked = notification is EVSENotification.StopCharging
                expected = stops.get(code.name, "evse_terminated" if asked else implausible.get(code.name, ""))
                assert causes == ([expected] if expected else []), causes
                assert replay.missing == ("PowerDeliveryRes" if expected else "CurrentDemandRes")


def test_a_service_of_any_number_is_selected_and_named() -> None:
    def change(body: Any) -> Any:
        if type(body).__name__ != "ServiceDiscoveryRes":
            return body
        tag = replace(body.charge_service.service_tag, service_id=4660)
        return replace(body, charge_service=replace(body.charge_service, service_tag=tag))

    replay = Replay(IONIQ, 0, 388, change)
    replay.run(lambda: bool(replay.missing))
    assert replay.missing == "CurrentDemandRes"
    selections = [each for each in replay.requests if type(each).__name__ == "ServicePaymentSelectionReq"]
    assert [each.selected_service_list.selected_service[0].service_id for each in selections] == [4660]
    assert "service_id" in {each["quirk"] for each in replay.seen("session", "quirk_tolerated")}


@pytest.mark.parametrize("isolation", [*IsolationLevel, None])
def test_isolation_is_sound_unless_it_is_called_a_fault(isolation: IsolationLevel | None) -> None:
    def change(body: Any) -> Any:
        if type(body).__name__ not in ("CableCheckRes", "PreChargeRes"):
            return body
        return replace(body, dc_evse_status=replace(body.dc_evse_status, evse_isolation_status=isolation))

    replay = Replay(IONIQ, 0, 388, change)
    replay.run(lambda: bool(replay.missing))
    assert (CloseContactor() in replay.commands) == (isolation in (IsolationLevel.Valid, IsolationLevel.Warning, None))
