"""Whole sessions over a connection that loses 1 to 20 % of its segments, in the time of the test: TCP repeats them, so
what the sessions see is bytes that come late, in pieces and in order. A session completes, or ends by the right name on
both sides, with everything open and dead.

What becomes of discovery and TLS, tests/interop/test_loss.py shows with the kernel's own TCP.
"""

import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evcc.session.settings import ProgramStep, SessionConfig
from pki_tools.tree import PkiTree
from tests.sessions.joined import Joined
from tests.sessions.whole_session import assert_safe
from v2g.iso15118.engine.session import Session

pytestmark = pytest.mark.requirement("R21")

SEGMENT = 1220
"""Octets of TCP in the least MTU of IPv6."""
RTO_S = 0.2
"""Linux's least time until a segment is repeated; it doubles each time."""
BOTH = SessionConfig(program=(ProgramStep(do="charge", energy_wh=60), ProgramStep(do="discharge", energy_wh=60)))
NAMED = {
    ("finished", "finished"),
    (
        "message_timeout",
        "vehicle_not_ready",
    ),  # a vehicle that gives up shows it by its pilot, before its last segments arrive
    ("message_timeout", "connection_lost"),
    ("message_timeout", "finished"),  # the charger's last response, SessionStopRes, comes too late: it cannot know
    ("secc_vanished", "sequence_timeout"),  # the charger gives up first: a request is repeated for too long
}
"""How vehicle and charger may end together."""


class OverBadLine(Joined):
    """A pair whose segments get lost with a probability, and take `delay_s` at least."""

    def __init__(self, pki: PkiTree, utc_ms: int, *, loss: float, delay_s: float, seed: int) -> None:
        super().__init__(pki, utc_ms, vehicle=BOTH)
        self._loss, self._delay_s, self._chance = loss, delay_s, random.Random(seed)
        self._way: dict[Session, list[tuple[float, bytes | None]]] = {self.secc: [], self.evcc: []}
        self.repeated = 0

    def deliver(self, peer: Session, data: bytes | None) -> None:
        for start in range(0, len(data or b"."), SEGMENT):
            at, rto = self.now + self._delay_s, RTO_S + self._delay_s
            while self._chance.random() < self._loss:
                at, rto, self.repeated = at + rto, 2 * rto, self.repeated + 1
            way = self._way[peer]
            way.append((max(at, way[-1][0] if way else 0.0), None if data is None else data[start : start + SEGMENT]))

    def arrival(self) -> float | None:
        return min((way[0][0] for way in self._way.values() if way), default=None)

    def advance(self, seconds: float = 0.05) -> None:
        super().advance(seconds)
        for peer, way in self._way.items():
            while way and way[0][0] <= self.now:
                super().deliver(peer, way.pop(0)[1])
        self.settle()


def ends(pki: PkiTree, *, loss: float, delay_s: float, seed: int) -> OverBadLine:
    """Run a session and check its end."""
    joined = OverBadLine(pki, time.time_ns() // 1_000_000, loss=loss, delay_s=delay_s, seed=seed)
    joined.run()
    named = joined.evcc_reason, joined.secc_reason
    assert named in NAMED
    if named == ("message_timeout", "finished"):
        assert joined.vehicle_saw("session", "failed")[-1]["request"] == "SessionStopReq"
    assert_safe(joined)
    battery = joined.plant.battery.state
    assert joined.imported_mwh() == pytest.approx(battery.charged_mwh, abs=1_000)
    assert joined.exported_mwh() == pytest.approx(battery.discharged_mwh, abs=1_000)
    return joined


@pytest.mark.long
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loss=st.floats(0.01, 0.2), delay_s=st.floats(0.0, 0.15), seed=st.integers(0, 2**32))
def test_a_session_completes_or_fails_by_the_right_name(pki: PkiTree, loss: float, delay_s: float, seed: int) -> None:
    ends(pki, loss=loss, delay_s=delay_s, seed=seed)


@pytest.mark.some(1)
@pytest.mark.parametrize(("loss", "least"), [(0.01, 19), (0.05, 14)])
def test_most_sessions_survive_a_little_loss(pki: PkiTree, loss: float, least: int) -> None:
    found = [ends(pki, loss=loss, delay_s=0.01, seed=seed) for seed in range(20)]
    assert sum(joined.repeated for joined in found) > 20 * 50 * loss
    assert sum(joined.evcc_reason == "finished" for joined in found) >= least


def test_a_vehicle_that_misses_only_the_last_response_says_so(pki: PkiTree) -> None:
    joined = ends(pki, loss=0.078125, delay_s=0.078125, seed=12451295)
    assert (joined.evcc_reason, joined.secc_reason) == ("message_timeout", "finished")


def test_latency_alone_ends_no_session(pki: PkiTree) -> None:
    assert ends(pki, loss=0.0, delay_s=0.2, seed=0).evcc_reason == "finished"
