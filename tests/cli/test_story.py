"""What the demo's timeline says of events."""

from typing import Any

import pytest

from v2g_cli.demo.processes import Event
from v2g_cli.demo.story import describe


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
