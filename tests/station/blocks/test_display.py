"""Functional block O, display messages, of our station, beyond the cases of the test lab."""

from typing import Any

from tests.station.bench import Bench, at
from tests.station.messages import put, shown
from tests.together import together
from v2g_station.blocks.evse import Fault


def get(found: Bench, **wanted: Any) -> list[int] | str:
    """Which messages are reported, or why none is."""
    answer = found.ask("GetDisplayMessages", {"requestId": 9} | wanted)
    if answer["status"] != "Accepted":
        word: str = answer["status"]
        return word
    return [info["id"] for part in found.all("NotifyDisplayMessages") for info in part["messageInfo"]]


def three() -> Bench:
    """A station with messages of different kinds."""
    found = Bench()
    put(found, 1)
    put(found, 2, priority="InFront", state="Charging")
    put(found, 3, priority="AlwaysFront", state="Idle")
    return found


@together(
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


def test_starts_at_its_time() -> None:
    starts(Bench())


def test_ends_at_its_time() -> None:
    ends(Bench())


def test_tc_o_17_cs_priority_not_supported() -> None:
    variables = {"DisplayMessageCtrlr.SupportedPriorities": "NormalCycle"}
    assert put(Bench(variables=variables), priority="InFront") == "NotSupportedPriority"


@together(
    ("language", "status"),
    [("en", "Accepted"), ("de-AT", "Accepted"), ("FR", "Accepted"), (None, "Accepted"), ("sv", "LanguageNotSupported")],
)
def test_languages_that_the_station_does_not_list_are_rejected(language: str | None, status: str) -> None:
    """O01.FR.18, of 2.1: DisplayMessageCtrlr.Language."""
    text = {"format": "UTF8", "content": "Text"} | ({"language": language} if language else {})
    assert put(Bench("2.1"), message=text) == status
    assert put(Bench("2.1"), messageExtra=[text]) == status
    assert put(Bench("2.0.1"), message=text) == "Accepted"


def test_a_message_with_the_driver_s_language_among_others_is_in_it() -> None:
    """O01.FR.08."""
    found = Bench("2.1")
    english, german, french = ({"format": "UTF8", "language": each, "content": each} for each in ("en", "de", "fr"))
    for number, texts in enumerate(([english, german], [german], [french]), 1):
        put(found, number, message=texts[0], **({"messageExtra": texts[1:]} if texts[1:] else {}))
    found.answers["Authorize"] = {"idTokenInfo": {"status": "Accepted", "language1": "de"}}
    found.present()
    found.wait(1)
    assert shown(found) == [1, 2]


def test_tc_o_18_cs_state_not_supported() -> None:
    variables = {"DisplayMessageCtrlr.SupportedStates": "Idle"}
    assert put(Bench(variables=variables), state="Faulted") == "NotSupportedState"


def test_state_charging() -> None:
    found = Bench()
    put(found, state="Charging")
    assert shown(found) == []
    found.plug()
    found.present()
    found.flow()
    assert shown(found) == [1]


def test_state_idle() -> None:
    found = Bench()
    put(found, state="Idle")
    assert shown(found) == [1]
    found.plug()
    found.present()
    found.flow()
    assert shown(found) == []


def test_state_unavailable() -> None:
    found = Bench()
    put(found, state="Unavailable")
    found.ask("ChangeAvailability", operationalStatus="Inoperative")
    found.wait(1)
    found.fact(Fault(evse_id=9, word="nothing", active=False))
    assert shown(found) == [1]


def test_state_faulted() -> None:
    found = Bench()
    put(found, state="Faulted")
    found.fact(Fault(word="x", active=True))
    assert shown(found) == [1]
