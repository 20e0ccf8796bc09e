"""What several tests of charger findings use."""

from collections.abc import Callable
from typing import Any

import pytest

from secc.session import delivery
from secc.session.d20 import delivery as stop
from secc.session.d20 import session
from v2g.iso15118.engine.message_timing import SessionTime
from v2g.iso15118.engine.sequence import State

Undo = Callable[[pytest.MonkeyPatch], None]


def keeps_power(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stop, "_off", lambda context: ())


def forgets_stops(patch: pytest.MonkeyPatch) -> None:
    def terminate(self: Any, reason: str) -> None:
        self._stop_reason = reason
        self._notify("Terminate")
        self._arm("terminate", 60.0)

    def after(self: Any, request: Any, before: State) -> None:
        known(self, request, before)
        if before in session.PARALLEL and self.state not in session.PARALLEL:
            self._disarm("terminate")

    known = session.SeccSession._after
    patch.setattr(session.SeccSession, "_terminate", terminate)
    patch.setattr(session.SeccSession, "_after", after)


def silence_is_borne(patch: pytest.MonkeyPatch) -> None:
    known = SessionTime.arm
    patch.setattr(
        SessionTime, "arm", lambda self, name, seconds: None if name == "silence" else known(self, name, seconds)
    )


def any_voltage_matches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(delivery, "is_matched", lambda stage, context: True)
