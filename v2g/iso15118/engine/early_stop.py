"""Where ISO 15118-2 and DIN 70121 let a vehicle stop beyond what their texts allow.

Refusing a stop ends the session without an answer to it and keeps plugs locked for 15 to 30 s in the field, so a
charger takes SessionStopReq, and a PowerDeliveryReq that stops, in every state after SessionSetup: recorded vehicles
send both even before the charge parameters. A charger that is tested by the letter uses the charts without these edges.
"""

from typing import Final

from v2g.iso15118.engine.sequence import Chart, Edges, State, extended

_BEFORE_SESSION: Final = frozenset({State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP, State.PAUSED, State.ENDED})


def with_early_stops(chart: Chart, *, session: Edges, power: Edges) -> Chart:
    """Return a chart whose states also take SessionStopReq by `session` and PowerDeliveryReq by `power`."""
    stops = {"PowerDeliveryReq": power, "SessionStopReq": session}
    return extended(chart, {state: stops for state in chart if state not in _BEFORE_SESSION})
