"""Messages that a full disk does not take (`v2g_station.blocks.connection.outbox`)."""

from functools import partial

import pytest

from tests.station.bench import Bench
from v2g_station.blocks.connection.outbox import SAVE_ATTEMPTS
from v2g_station.kernel.kernel import Action, Keep, SendToCsms

INTERVAL_S = 10
"""OCPPCommCtrlr.MessageAttemptInterval[TransactionEvent], unless set."""


class Disk(Bench):
    """A station whose shell holds back what a full disk does not take, as `StationRunner` does."""

    full = False
    tries = 0

    def carry_out(self, actions: list[Action]) -> None:
        kept = [each for each in actions if isinstance(each, Keep)]
        if not (self.full and kept):
            super().carry_out(actions)
            return
        self.tries += 1
        sent = [each for each in actions if isinstance(each, SendToCsms)]
        super().carry_out([each for each in actions if not isinstance(each, Keep | SendToCsms)])
        self._coming.append(partial(self._unsaved, unsent=bool(sent)))

    def _unsaved(self, *, unsent: bool) -> list[Action]:
        return self.station.unsaved(self.moment, unsent=unsent)

    def queued(self) -> int:
        return len(self.saved.get("outbox", {}))


def station(**more: str) -> Disk:
    return Disk("2.1", variables={"TxCtrlr.TxStartPoint": "EVConnected"} | more)


def test_a_message_is_saved_before_it_is_sent_however_often_that_fails() -> None:
    found = station()
    found.full = True
    found.plug()
    assert found.all("TransactionEvent") == []
    found.wait(INTERVAL_S + 1)
    assert found.all("TransactionEvent") == [], "it is tried again, on the disk first"
    found.full, before = False, found.writes
    found.wait(INTERVAL_S + 1)
    assert [each["eventType"] for each in found.all("TransactionEvent")] == ["Started"]
    assert found.writes > before
    assert len(found.station.outbox) == found.queued() == 0


@pytest.mark.parametrize("full", [True, False])
def test_a_message_that_waited_while_the_disk_was_full_is_saved_when_it_is_sent(full: bool) -> None:
    """The failure was of a step in which nothing was sent, as another request was not answered yet."""
    found = station()
    found.answers["Authorize"] = None
    found.present()
    found.full = True
    found.plug()
    found.full = full
    before = found.writes
    found.answer_late("Authorize", '{"idTokenInfo":{"status":"Accepted"}}')
    assert bool(found.all("TransactionEvent")) is not full
    assert full or found.writes > before


def test_what_can_never_be_saved_is_sent_in_the_end_and_reported() -> None:
    """Its driver has to be billed; the disk will not hold it any more than the memory does."""
    found = station()
    found.full = True
    found.plug()
    found.wait(SAVE_ATTEMPTS * INTERVAL_S + 1)
    assert [each["eventType"] for each in found.all("TransactionEvent")] == ["Started"]
    assert [each.data for each in found.observed if each.name == "event_sent_unsaved"] == [
        {"action": "TransactionEvent"}
    ]
    found.full = False
    found.unplug()
    found.wait(60)
    assert [each["eventType"] for each in found.all("TransactionEvent")] == ["Started", "Ended"]
    found.full = True
    found.plug()
    found.wait(1)
    assert len(found.all("TransactionEvent")) == 2, "the disk works again: it is saved first"
