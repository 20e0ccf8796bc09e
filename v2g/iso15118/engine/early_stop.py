"""Where ISO 15118-2 and DIN 70121 let a vehicle stop beyond what their texts allow.

Refusing a stop ends the session without an answer to it and keeps plugs locked for 15 to 30 s in the field, so a
charger takes SessionStopReq in every state after SessionSetup, and a PowerDeliveryReq that stops in every state after
the charge parameters. A charger that is tested by the letter uses the charts without these edges.
"""

from typing import Final

from v2g.iso15118.engine.sequence import Chart, Edges, State, extended

_BEFORE_SESSION: Final = frozenset({State.SUPPORTED_APP_PROTOCOL, State.SESSION_SETUP, State.PAUSED, State.ENDED})

_BEFORE_PARAMETERS: Final = _BEFORE_SESSION | {
    State.SERVICE_DISCOVERY,
    State.SERVICE_SELECTION,
    State.PAYMENT_DETAILS,
    State.CONTRACT_INSTALLED,
    State.AUTHORIZATION,
    State.CHARGE_PARAMETER_DISCOVERY,
}


def with_early_stops(chart: Chart, *, session: Edges, power: Edges) -> Chart:
    """Return a chart whose states also take SessionStopReq by `session` and PowerDeliveryReq by `power`."""
    stops = {"SessionStopReq": session}
    more = {
        state: stops if state in _BEFORE_PARAMETERS else {"PowerDeliveryReq": power, **stops}
        for state in chart
        if state not in _BEFORE_SESSION
    }
    return extended(chart, more)
