"""The vehicle's plan of its power against the offered schedule."""

from secc.session.request_context import refuse
from secc.session.v2g_message.request_context import RequestContext
from v2g.iso15118.engine.power_schedule import PowerSchedule, exceeds
from v2g.iso15118.engine.quirks import CHARGING_PROFILE, Quirk


def check_profile(planned: PowerSchedule | None, allowed: PowerSchedule, context: RequestContext) -> tuple[Quirk, ...]:
    """Return the quirks of a plan: vehicles in the field send none, or one above PMax [V2G2-224], [V2G2-761].

    Raises Iso15118Error for one above, if the charger is strict.
    """
    if planned is not None and exceeds(planned, allowed) is None:
        return ()
    if planned is not None and context.strict:
        raise refuse("FAILED_ChargingProfileInvalid", "the charging profile is above PMax")
    return (CHARGING_PROFILE,)
