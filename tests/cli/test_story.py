"""What the demo's timeline says of events."""

from typing import Any

import pytest

from tests.together import together
from v2g.events import reported_by
from v2g_cli.demo.processes import Event
from v2g_cli.demo.scenario import SCENARIOS
from v2g_cli.demo.story import STORY, describe


@pytest.mark.parametrize(
    ("stage", "name", "data", "words"),
    [
        ("metering", "confirmed", {"charged_wh": 12, "discharged_wh": None, "emaid": "DE"}, "12 Wh in, 0 Wh out"),
        ("metering", "confirmed", {"charged_wh": 12, "discharged_wh": 5, "emaid": "DE"}, "12 Wh in, 5 Wh out"),
        ("ocpp", "csms_disconnected", {"reason": "connection closed"}, "back end disconnected: connection closed"),
    ],
)
def test_a_line_has_no_gap_where_the_event_says_nothing(
    stage: str, name: str, data: dict[str, Any], words: str
) -> None:
    reported = describe(Event(t=0.0, utc_ms=0, process="secc", stage=stage, name=name, data=data))
    assert reported is not None
    assert reported.endswith(words)


PROGRAMS = {"provider": "csms"}
"""What a process runs, where it has another name."""


class Seen(dict[str, Any]):
    """Fields of an event, any there is, and which of them are read."""

    def __init__(self, types: dict[str, str]) -> None:
        super().__init__()
        self._types, self.read = types, set[str]()

    def __missing__(self, key: str) -> Any:
        self.read.add(key)
        return "text" if self._types.get(key) == "text" else 1

    def get(self, key: str, default: Any = None) -> Any:
        return self[key]


@together("place", STORY, ids=" ".join)
def test_a_line_is_about_an_event_with_these_fields(place: tuple[str, str, str]) -> None:
    process, stage, name = place
    (event,) = [each for each in reported_by(PROGRAMS.get(process, process)) if each.key == (stage, name)]
    types = {field.name: field.type for field in event.fields}
    seen = Seen(types)
    assert STORY[place](seen)
    assert seen.read <= types.keys()


def test_what_a_scenario_shows_is_an_event_with_these_fields() -> None:
    declared = {
        (process, *event.key): {field.name for field in event.fields}
        for process in ("csms", "evcc", "gateway", "provider", "secc")
        for event in reported_by(PROGRAMS.get(process, process))
    }
    for scenario in SCENARIOS:
        for process, stage, name, fields in scenario.sees:
            assert fields.keys() <= declared[process, stage, name], f"{scenario.name}: {stage} {name}"
