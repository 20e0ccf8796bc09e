"""The reference has the events that are reported through a port that a constructor takes, too."""

from csms.event_kinds import KINDS
from docs.events import find_events


def test_what_becomes_of_journals_is_listed_and_can_be_subscribed_to() -> None:
    found = {each.name: each.fields for each in find_events() if (each.process, each.stage) == ("csms", "settlement")}
    for name in ("journal_waiting", "journal_quarantined"):
        assert found[name] == ("station", "session", "reason", "detail")
    assert found["settled"][:3] == ("station", "session", "transaction")
    assert {"settled", "journal_waiting", "journal_quarantined"} <= set(KINDS)
