"""Certification cases of functional block O, display messages: the station."""

from typing import Any

import pytest

from tests.certification.station.bench import Bench, at
from tests.certification.station.test_block_e import charging
from v2g_station.blocks.display import Show
from v2g_station.blocks.evse import Fault


def message(number: int = 1, **more: Any) -> dict[str, Any]:
    """A message."""
    content = {"format": "UTF8", "language": "en", "content": f"Message {number}"}
    return {"id": number, "priority": "NormalCycle", "message": content} | more


def put(found: Bench, number: int = 1, **more: Any) -> str:
    """Set a message."""
    status: str = found.ask("SetDisplayMessage", message=message(number, **more))["status"]
    return status


def shown(found: Bench) -> list[int]:
    """What the display shows now."""
    orders = [each for each in found.commands if isinstance(each, Show)]
    return [info.id for info in orders[-1].messages] if orders else []


def get(found: Bench, **wanted: Any) -> list[int] | str:
    """Which messages are reported, or why none is."""
    answer = found.ask("GetDisplayMessages", {"requestId": 9} | wanted)
    if answer["status"] != "Accepted":
        word: str = answer["status"]
        return word
    return [info["id"] for part in found.all("NotifyDisplayMessages") for info in part["messageInfo"]]


def transaction(found: Bench) -> str:
    """The transaction that runs."""
    identifier: str = found.all("TransactionEvent")[0]["transactionInfo"]["transactionId"]
    return identifier


def test_tc_o_01_cs_set() -> None:
    found = Bench()
    assert put(found) == "Accepted"
    assert shown(found) == [1]


def test_tc_o_02_cs_get_all() -> None:
    found = Bench()
    put(found, 1)
    put(found, 2)
    assert get(found) == [1, 2]


def test_tc_o_03_cs_get_none() -> None:
    assert get(Bench()) == "Unknown"


def test_tc_o_33_cs_get_one_of_none() -> None:
    assert get(Bench(), id=[1]) == "Unknown"


def test_tc_o_04_cs_clear() -> None:
    found = Bench()
    put(found)
    assert found.ask("ClearDisplayMessage", id=1)["status"] == "Accepted"
    assert shown(found) == []


def test_tc_o_05_cs_clear_unknown() -> None:
    assert Bench().ask("ClearDisplayMessage", id=1)["status"] == "Unknown"


def test_tc_o_06_cs_of_a_transaction() -> None:
    found = charging()
    assert put(found, transactionId=transaction(found)) == "Accepted"
    assert shown(found) == [1]
    found.present()
    assert shown(found) == []


def test_tc_o_10_cs_of_an_unknown_transaction() -> None:
    assert put(Bench(), transactionId="none") == "UnknownTransaction"


def three() -> Bench:
    """A station with messages of different kinds."""
    found = Bench()
    put(found, 1)
    put(found, 2, priority="InFront", state="Charging")
    put(found, 3, priority="AlwaysFront", state="Idle")
    return found


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"id": [2]}, [2]),
        ({"priority": "AlwaysFront"}, [3]),
        ({"state": "Charging"}, [2]),
        ({"id": [9]}, "Unknown"),
        ({"id": [2], "state": "Idle"}, "Unknown"),
        ({"id": [2], "priority": "AlwaysFront"}, "Unknown"),
    ],
)
def test_messages_are_chosen(wanted: dict[str, Any], ids: list[int] | str) -> None:
    assert get(three(), **wanted) == ids


def test_tc_o_07_cs_get_by_id() -> None:
    assert get(three(), id=[2]) == [2]


def test_tc_o_08_cs_get_by_priority() -> None:
    assert get(three(), priority="AlwaysFront") == [3]


def test_tc_o_09_cs_get_by_state() -> None:
    assert get(three(), state="Charging") == [2]


def test_tc_o_11_cs_get_unknown() -> None:
    assert get(three(), id=[9]) == "Unknown"


def test_tc_o_34_cs_get_by_id_and_another_state() -> None:
    assert get(three(), id=[2], state="Idle") == "Unknown"


def test_tc_o_35_cs_get_by_id_and_another_priority() -> None:
    assert get(three(), id=[2], priority="AlwaysFront") == "Unknown"


def test_tc_o_12_cs_replace() -> None:
    found = Bench()
    put(found)
    assert put(found, message={"format": "UTF8", "content": "Better"}) == "Accepted"
    get(found)
    assert found.all("NotifyDisplayMessages")[-1]["messageInfo"][0]["message"]["content"] == "Better"


def starts(found: Bench, **more: Any) -> None:
    """A message appears at its time."""
    assert put(found, startDateTime=at(found.utc_ms + 60_000), **more) == "Accepted"
    assert shown(found) == []
    found.wait(61)
    assert shown(found) == [1]


def ends(found: Bench, **more: Any) -> None:
    """A message is gone after its time."""
    assert put(found, endDateTime=at(found.utc_ms + 60_000), **more) == "Accepted"
    assert shown(found) == [1]
    found.wait(61)
    assert shown(found) == []
    assert get(found) == "Unknown"


def test_tc_o_13_cs_starts_at_its_time() -> None:
    starts(Bench())


def test_tc_o_14_cs_ends_at_its_time() -> None:
    ends(Bench())


def test_tc_o_27_cs_of_a_transaction_starts_at_its_time() -> None:
    found = charging()
    starts(found, transactionId=transaction(found))


def test_tc_o_28_cs_of_a_transaction_ends_at_its_time() -> None:
    found = charging()
    ends(found, transactionId=transaction(found))


def test_tc_o_15_cs_in_the_drivers_language() -> None:
    found = Bench()
    for number, language in ((1, "en"), (2, "nl"), (3, "de")):
        put(found, number, message={"format": "UTF8", "language": language, "content": "x"})
    assert shown(found) == [1, 2, 3]
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "language1": "nl"}}
    found.plug()
    found.present()
    assert shown(found) == [2]


def test_tc_o_30_cs_of_a_transaction_several_in_front() -> None:
    found = charging()
    for number in (1, 2):
        put(found, number, priority="InFront", transactionId=transaction(found))
    assert shown(found) == [1, 2]


def test_tc_o_32_cs_of_a_transaction_second_always_in_front() -> None:
    found = charging()
    for number in (1, 2):
        put(found, number, priority="AlwaysFront", transactionId=transaction(found))
    assert shown(found) == [2]


def test_tc_o_17_cs_priority_not_supported() -> None:
    variables = {"DisplayMessageCtrlr.SupportedPriorities": "NormalCycle"}
    assert put(Bench(variables=variables), priority="InFront") == "NotSupportedPriority"


def test_tc_o_18_cs_state_not_supported() -> None:
    variables = {"DisplayMessageCtrlr.SupportedStates": "Idle"}
    assert put(Bench(variables=variables), state="Faulted") == "NotSupportedState"


def test_tc_o_19_cs_format_not_supported() -> None:
    assert put(Bench(), message={"format": "HTML", "content": "<b>x</b>"}) == "NotSupportedMessageFormat"


def test_tc_o_20_cs_survives_a_reboot() -> None:
    found = Bench()
    put(found)
    found.power_loss()
    assert get(found) == [1]
    assert shown(found) == [1]


def test_tc_o_22_cs_several_in_front() -> None:
    found = Bench()
    put(found, 1, priority="InFront")
    put(found, 2, priority="InFront")
    assert shown(found) == [1, 2]


def test_tc_o_24_cs_second_always_in_front() -> None:
    found = Bench()
    put(found, 1, priority="AlwaysFront")
    put(found, 2, priority="AlwaysFront")
    assert shown(found) == [2]
    assert get(found) == [2]


def test_tc_o_36_cs_state_charging() -> None:
    found = Bench()
    put(found, state="Charging")
    assert shown(found) == []
    found.plug()
    found.present()
    found.flow()
    assert shown(found) == [1]


def test_tc_o_37_cs_state_idle() -> None:
    found = Bench()
    put(found, state="Idle")
    assert shown(found) == [1]
    found.plug()
    found.present()
    found.flow()
    assert shown(found) == []


def test_tc_o_38_cs_state_unavailable() -> None:
    found = Bench()
    put(found, state="Unavailable")
    found.ask("ChangeAvailability", operationalStatus="Inoperative")
    found.wait(1)
    found.fact(Fault(evse_id=9, word="nothing", active=False))
    assert shown(found) == [1]


def test_tc_o_39_cs_state_faulted() -> None:
    found = Bench()
    put(found, state="Faulted")
    found.fact(Fault(word="x", active=True))
    assert shown(found) == [1]
