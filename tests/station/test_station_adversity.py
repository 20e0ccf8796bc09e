"""Whatever happens to the link, the CSMS and the power: each transaction arrives once, in order, from begin to end."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.later import later
from tests.station.bench import SOCKET, Bench, Refused, at
from tests.station.profiles import limit, put
from tests.station.tariffs import assigned, station, tariff
from v2g.errors import TimeoutExpired
from v2g.ocpp.messages.availability import HeartbeatRequest, HeartbeatResponse
from v2g.ocpp.messages.transactions import TransactionLimit
from v2g_station.blocks.connection.outbox import QueuedMessage
from v2g_station.blocks.evse import ContractPresented
from v2g_station.blocks.security.certificates import ContractRequest
from v2g_station.blocks.smart_charging.profiles import ProfileLimits
from v2g_station.blocks.transaction_limits import DriverLimit

STEPS = (
    "plug", "unplug", "present", "flow", "suspend", "drop", "back", "wait", "long", "power", "update", "silent",
    "refuse", "answer", "twice",
)  # fmt: skip


def do(found: Bench, step: str) -> None:
    """Let something happen."""
    match step:
        case "plug":
            found.plug()
        case "unplug":
            found.unplug()
        case "present":
            found.present()
        case "flow" if found.allowed():
            found.flow("Charging", wh=10)
        case "suspend" if found.allowed():
            found.flow("SuspendedEV")
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
        case "update":  # to a program that keeps more, and back
            found.saved = {
                collection: {key: later(body) if body.startswith(b"{") else body for key, body in documents.items()}
                for collection, documents in found.saved.items()
            } | {"later": {"1": b"{}"}}
            found.power_loss()
            found.plug(vehicle=False, station=False)
        case "silent":
            found.answers["TransactionEvent"] = None
        case "refuse":
            found.answers["TransactionEvent"] = Refused("InternalError")
        case "answer":
            found.answers.pop("TransactionEvent", None)
        case "twice":
            found.plug()
            found.plug()


def live_through(steps: list[str]) -> Bench:
    """Let everything happen, then let the CSMS be well and the driver leave."""
    found = Bench(
        evses=(SOCKET,),
        variables={
            "OCPPCommCtrlr.MessageAttempts[TransactionEvent]": "100",
            "OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]": "0",
            "AuthCtrlr.OfflineTxForUnknownIdEnabled": "true",
            "TxCtrlr.TxStartPoint": "EVConnected",
            "TxCtrlr.TxStopPoint": "EVConnected",
        },
    )
    for step in steps:
        do(found, step)
    found.answers.clear()
    found.accepting = lambda _: True
    found.unplug()
    for _ in range(40):
        found.wait(30)
        if found.connected and len(found.station.outbox) == 0:
            break
    return found


def check(found: Bench) -> None:
    """Nothing is lost, nothing out of order, nothing left open."""
    assert len(found.station.outbox) == 0
    assert found.saved.get("transactions", {}) == {}
    events: dict[str, list[dict[str, Any]]] = {}
    for event in found.all("TransactionEvent"):
        events.setdefault(event["transactionInfo"]["transactionId"], []).append(event)
    for mine in events.values():
        reported = [next(group) for _, group in itertools.groupby(mine, key=lambda event: event["seqNo"])]
        assert [event["seqNo"] for event in reported] == list(range(len(reported))), "in order, without a gap"
        assert [event["eventType"] for event in reported] == ["Started"] + ["Updated"] * (len(reported) - 2) + ["Ended"]
        times = [event["timestamp"] for event in reported]
        assert times == sorted(times)


@given(st.lists(st.sampled_from(STEPS), max_size=25))
@settings(max_examples=15, deadline=None)
def test_every_transaction_arrives_once_and_in_order(steps: list[str]) -> None:
    check(live_through(steps))


@pytest.mark.long
@given(st.lists(st.sampled_from(STEPS), max_size=80))
def test_every_transaction_arrives_once_and_in_order_whatever_happens(steps: list[str]) -> None:
    check(live_through(steps))


@pytest.mark.requirement("R133")
@pytest.mark.parametrize("loss", ["power", "update"])
def test_a_power_loss_between_any_two_things_that_are_kept_loses_and_repeats_nothing(loss: str) -> None:
    """The memory is cut after each step: what was sent had been kept, what was kept is sent. So it is by an older
    program that comes back after an update, and reads what the newer one has kept."""
    story = ["plug", "present", "flow", "wait", "suspend", "flow", "drop", "wait", "back", "long", "present", "unplug"]
    for cut in range(len(story) + 1):
        found = live_through([*story[:cut], loss, *story[cut:]])
        check(found)
        assert not [event for event in found.observed if event.name == "memory_unreadable"]
        assert len(found.all("TransactionEvent")) >= 2


def test_a_memory_with_rubbish_in_it_does_not_keep_a_station_from_starting() -> None:
    found = Bench(power=False)
    for collection in ("outbox", "transactions", "cache", "local_list", "profiles", "reservations", "monitors",
                   "network", "certificates", "display", "firmware", "operative", "security_log"):  # fmt: skip
        found.saved[collection] = {"1": b"\x00rubbish", "2": b"{}"}
    found.power_loss()
    found.expect("BootNotification")
    assert any(event.name == "memory_unreadable" for event in found.observed)


def test_a_csms_that_answers_nothing_is_left_and_called_again() -> None:
    """A connection over which three messages in a row went unanswered is no connection."""
    found = Bench(evses=(SOCKET,), variables={"OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent]": "0"})
    calls = len(found.all("TransactionEvent"))
    found.answers["TransactionEvent"] = None
    found.plug()
    found.present()
    found.flow("Charging", wh=10)
    left: list[int] = []
    found.accepting = lambda _: bool(left.append(len(found.all("TransactionEvent")))) or True
    for _ in range(300):
        found.wait(1)
        if left:
            break
    assert left == [calls + 3]
    assert [each.data["action"] for each in found.observed if each.name == "csms_silent"] == ["TransactionEvent"]


def test_a_csms_that_answers_late_is_silent_until_then() -> None:
    found = Bench(evses=(SOCKET,))
    found.answers["Heartbeat"] = None
    found.ask("TriggerMessage", requestedMessage="Heartbeat")
    found.wait(31)
    found.answers.clear()
    found.ask("GetLocalListVersion")
    said = [(each.name, each.data["silent_s"]) for each in found.observed if each.name.startswith(("csms_s", "csms_a"))]
    assert said == [("csms_silent", 30), ("csms_answers", 31)]


def test_a_request_of_short_use_holds_up_others_no_longer() -> None:
    """Nor is a CSMS silent that is given less than its time."""
    found = Bench(evses=(SOCKET,))
    found.answers["Get15118EVCertificate"] = None
    got: list[object] = []
    contract = ContractRequest(schema="urn:iso:15118:2:2013:MsgDef", exi=b"request").message("2.0.1")
    found.run(found.station.call(contract, got.append, found.moment, timeout=4.5))
    found.run(found.station.call(HeartbeatRequest(), got.append, found.moment))
    found.wait(4)
    assert not got
    found.wait(1)
    assert [type(each) for each in got] == [TimeoutExpired, HeartbeatResponse]
    assert not any(each.name == "csms_silent" for each in found.observed)


@pytest.mark.parametrize("valid", [True, False])
def test_an_authorization_holds_up_others_no_longer_than_its_vehicle_waits(*, valid: bool) -> None:
    """Then the CSMS counts as offline."""
    name = "ISO15118Ctrlr.ContractValidationOffline"
    found = Bench(evses=(SOCKET,), variables={name: str(valid).lower()})
    found.answers["Authorize"] = None
    got: list[object] = []
    shown = ContractPresented(evse_id=1, emaid="DEV2GC00000001", locally_valid=True, accept_unknown=True, within_s=10)
    judged = found.station.judge_contract(shown, lambda outcome, _: got.append(outcome.decision), found.moment)
    found.run(judged)
    found.run(found.station.call(HeartbeatRequest(), got.append, found.moment))
    found.wait(9)
    assert not got
    found.wait(2)
    assert got == ["accepted" if valid else "unreachable", got[-1]]
    assert isinstance(got[-1], HeartbeatResponse)


def test_clock_jumps_leave_schedules_and_heartbeats_alive() -> None:
    found = Bench(evses=(SOCKET,))
    found.plug()
    found.present()
    found.flow()
    for jump_ms in (3_600_000, -7_200_000, 86_400_000):
        found.utc_ms += jump_ms
        found.clear()
        found.wait(61)
        found.expect("TransactionEvent", triggerReason="MeterValuePeriodic")
    found.unplug()
    ended = found.expect("TransactionEvent", eventType="Ended")
    assert ended["transactionInfo"]["timeSpentCharging"] == 183, "a clock that is set takes no time"


def test_a_limit_of_time_goes_by_the_time_that_passes() -> None:
    found = Bench("2.1", evses=(SOCKET,))
    found.answers["TransactionEvent"] = {"transactionLimit": {"maxTime": 600}}
    found.plug()
    found.present()
    found.flow()
    found.utc_ms += 86_400_000
    found.wait(500)
    assert found.allowed()
    found.wait(110)
    assert not found.allowed()


def refuse_everything(found: Bench) -> None:
    """Let a transaction happen of which the CSMS takes nothing."""
    found.answers["TransactionEvent"] = Refused("InternalError")
    found.plug()
    found.present()
    found.unplug()
    found.wait(600)


def test_what_was_given_up_is_kept_although_the_program_starts_again() -> None:
    """Keys of the queue are never used twice: what waits for whoever settles by hand is not overwritten."""
    found = Bench(evses=(SOCKET,), variables={"OCPPCommCtrlr.MessageAttempts[TransactionEvent]": "1"})
    given_up: set[bytes] = set()
    for _ in range(3):
        refuse_everything(found)
        now = set(found.saved["refused"].values())
        assert given_up < now, "all from before, and more"
        given_up = now
        found.power_loss()


def test_a_whole_queue_that_cannot_be_read_is_set_aside() -> None:
    """As after a firmware that wrote it otherwise: what comes next is sent, what was there is kept for a human."""
    found = Bench(evses=(SOCKET,))
    entry = msgspec.json.encode(QueuedMessage(action="TransactionEvent", body=b"{}", group="t"))
    found.saved["outbox"] = {f"{number:012d}": entry for number in range(1, 3001)}
    found.power_loss()
    found.plug()
    found.present()
    found.expect("TransactionEvent", eventType="Started")
    assert len(found.saved["refused"]) == 1000
    assert found.saved["outbox"] == {}


def test_time_without_power_is_no_time_spent_charging() -> None:
    found = Bench(evses=(SOCKET,))
    found.plug()
    found.present()
    found.flow()
    found.wait(600)
    found.power_loss(away_s=8 * 3600)
    ended = found.expect("TransactionEvent", eventType="Ended")
    assert 540 <= ended["transactionInfo"]["timeSpentCharging"] <= 600


@pytest.mark.parametrize("hours", [11, -5])
def test_profiles_follow_a_clock_that_is_set(hours: int) -> None:
    """A station without a battery for its clock learns the time after it has started: limits are those of now."""
    found = Bench(evses=(SOCKET,))
    begin = found.utc_ms + (10 if hours > 0 else -1) * 3_600_000
    schedule = {"id": 1, "chargingRateUnit": "W", "startSchedule": at(begin), "chargingSchedulePeriod": [
        {"startPeriod": 0, "limit": 5000.0}]}  # fmt: skip
    profile = {"id": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
               "chargingProfileKind": "Absolute", "chargingSchedule": [schedule]}  # fmt: skip
    assert found.ask("SetChargingProfile", evseId=1, chargingProfile=profile)["status"] == "Accepted"
    found.utc_ms += hours * 3_600_000
    found.wait(1)
    limits = [command.charge_w for command in found.commands if isinstance(command, ProfileLimits)]
    assert limits[-1] == (5000 if hours > 0 else None)


def test_a_vehicle_that_cannot_make_up_its_mind_does_not_fill_the_memory() -> None:
    """A week offline with a vehicle that stops and starts: updates are thinned, begin and end are kept (E04.FR.07)."""
    found = Bench(evses=(SOCKET,), max_events=20)
    found.plug()
    found.present()
    found.flow("Charging")
    found.drop()
    for _ in range(100):
        found.flow("SuspendedEV")
        found.flow("Charging")
    found.unplug()
    assert len(found.saved["outbox"]) <= 20
    found.back()
    found.wait(60)
    reported = found.all("TransactionEvent")
    assert [reported[0]["eventType"], reported[-1]["eventType"]] == ["Started", "Ended"]
    numbers = [event["seqNo"] for event in reported]
    assert numbers == sorted(set(numbers))


def test_limits_of_a_transaction_are_reported_however_long_the_back_end_is_away() -> None:
    """E12.FR.04: only other updates are dropped."""
    found = Bench("2.1", evses=(SOCKET,), max_events=20)
    found.plug()
    found.present()
    found.flow("Charging")
    found.drop()
    found.fact(DriverLimit(evse_id=1, limit=TransactionLimit(max_energy=1000.0)))
    for _ in range(100):
        found.flow("SuspendedEV")
        found.flow("Charging")
    found.flow(wh=2000)
    found.flow("SuspendedEV")
    found.wait(30)
    for _ in range(100):
        found.flow("Charging")
        found.flow("SuspendedEV")
    found.unplug()
    found.back()
    found.wait(60)
    triggers = [each["triggerReason"] for each in found.all("TransactionEvent")]
    assert {"LimitSet", "EnergyLimitReached"} <= set(triggers)


@pytest.mark.requirement("R133")
def test_what_a_later_program_has_added_is_left_out() -> None:
    found = station(tariff())
    assert put(found) == "Accepted"
    reservation = {"id": 7, "expiryDateTime": at(found.utc_ms + 3_600_000), "evseId": 2}
    assert (
        found.ask("ReserveNow", idToken={"idToken": "TAG-2", "type": "Central"}, **reservation)["status"] == "Accepted"
    )
    do(found, "update")
    assert not [event.data for event in found.observed if event.name == "memory_unreadable"]
    assert (limit(found), [each["tariffId"] for each in assigned(found)]) == (6000.0, ["T1"])
    assert {"tariffs", "profiles", "reservations"} <= found.saved.keys()
