"""The path through a sequence chart to the state where a case begins, exchange by exchange."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from v2g.iso15118.d20.charts import PARALLEL
from v2g.iso15118.engine.sequence import Asks, Chart, Edge, Says, State

Hop = tuple[str, Edge]
"""Name of a request, and its desired result."""

Usual = Callable[[State, str, Edge, State], bool]
"""Returns whether a vehicle takes an edge, the named request's in a state, on its way to a goal."""

ASIDE: Final = frozenset(
    {"VehicleCheckInReq", "VehicleCheckOutReq", "CertificateInstallationReq", "MeteringConfirmationReq"}
)
_UNPLANNED: Final = frozenset({Says.WARNING, Says.EXPIRES_SOON, Says.OLD_SESSION, Says.MORE, Says.RECEIPT_REQUIRED})
RENEGOTIATED: Final = frozenset({State.SCHEDULE_RENEGOTIATION, State.POWER_DELIVERY_RENEGOTIATED})
RESTING: Final = frozenset({State.STANDBY, State.STANDBY_RENEGOTIATION})
"""States without energy in which a vehicle stays connected."""


def usual(state: State, name: str, edge: Edge, goal: State) -> bool:
    """Return whether a vehicle on its way to `goal` takes this edge in ISO 15118-20."""
    if name == "SessionStopReq":
        return state is State.SESSION_STOP and edge.to is goal and edge.asks in (Asks.TERMINATE, Asks.PAUSE)
    if name == "PowerDeliveryReq":
        if state is State.DC_PRE_CHARGE_ONGOING:  # some chargers require Finished first
            return False
        if edge.asks is Asks.STOP:
            return state in PARALLEL
        if edge.asks is Asks.STANDBY:
            return goal in RESTING and state in PARALLEL
        if edge.asks is Asks.RENEGOTIATION:
            return goal is State.STANDBY_RENEGOTIATION if state in RESTING else goal in RENEGOTIATED
    return True


def next_hop(chart: Chart, start: State, goal: State, takes: Usual = usual) -> Hop | None:
    """Return the first exchange of a shortest usual path from `start` to `goal`, or None without one."""
    first: dict[State, Hop] = {}
    waiting = deque([start])
    seen = {start}
    while waiting:
        state = waiting.popleft()
        for name, edge in _ways(chart, state, goal, takes):
            if edge.to in seen:
                continue
            seen.add(edge.to)
            first[edge.to] = first.get(state, (name, edge))
            if edge.to is goal:
                return first[edge.to]
            waiting.append(edge.to)
    return None


def _ways(chart: Chart, state: State, goal: State, takes: Usual) -> Iterator[Hop]:
    for name, edges in chart[state].items():
        if name in ASIDE:
            continue
        for edge in edges:
            if edge.says not in _UNPLANNED and takes(state, name, edge, goal):
                yield name, edge


def reachable(chart: Chart, start: State = State.SUPPORTED_APP_PROTOCOL) -> tuple[State, ...]:
    """Return the states that a tester can try to reach, in the order of the chart."""
    return tuple(state for state in chart if state is start or next_hop(chart, start, state) is not None)
