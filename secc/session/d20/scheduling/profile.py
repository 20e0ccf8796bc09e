"""Checks of the vehicle's EVPowerProfile against the schedule tuple that it chose, entry by entry over time."""

from collections.abc import Iterator

from secc.session.config import ControlMode
from secc.session.d20.request_context import RequestContext, refuse
from secc.session.d20.scheduling.schedules import entry_powers
from secc.session.offers import OfferedTuple, Span
from secc.session.stages import Planned
from v2g.errors import Iso15118Error
from v2g.iso15118.d20.messages.common_messages import PowerDeliveryReq
from v2g.iso15118.d20.messages.common_types import ResponseCode
from v2g.iso15118.d20.messages.schedules import EVPowerProfile

W_MS_PER_WH = 3_600_000


def choose_tuple(request: PowerDeliveryReq, planned: Planned, context: RequestContext) -> OfferedTuple | None:
    """Return the scheduled tuple that the vehicle chose, None in dynamic mode.

    Rejects a profile that is missing, of the other control mode, of an unknown tuple or not within its powers.
    """
    profile = request.ev_power_profile
    dynamic = planned.selected.control_mode is ControlMode.DYNAMIC
    if profile is None:
        if dynamic:
            return None
        raise _invalid("a scheduled vehicle must send a profile")
    scheduled = profile.scheduled_evppt_control_mode
    if (scheduled is None) != dynamic:
        raise _invalid("the profile is for another control mode")
    if any(entry.duration < 1 for entry in profile.ev_power_profile_entries.ev_power_profile_entry):
        raise _invalid("an entry of the profile has no duration")
    if scheduled is None:
        return None
    tuple_id = scheduled.selected_schedule_tuple_id
    chosen = next((each for each in planned.plan.tuples if each.tuple_id == tuple_id), None)
    if chosen is None:
        raise refuse(ResponseCode.FAILED_ScheduleSelectionInvalid, f"schedule tuple {tuple_id} was not offered")
    _check(profile, chosen, planned.parametrised.vehicle.phases, context.utc_ms)
    return chosen


def _check(profile: EVPowerProfile, chosen: OfferedTuple, phases: int, utc_ms: int) -> None:
    """Reject entries outside of the tuple at any time. A TimeAnchor of 0, which some vehicles send, means now."""
    start_ms = profile.time_anchor * 1000 or utc_ms
    energy = 0
    for entry in profile.ev_power_profile_entries.ev_power_profile_entry:
        powers = entry_powers(entry)
        if len(powers) > 1 and len({power > 0 for power in powers if power}) > 1:
            raise _invalid("phases have different directions")
        total, end_ms = sum(powers), start_ms + entry.duration * 1000
        energy += max(0, total) * (end_ms - start_ms)
        for span, sign in _during(chosen, start_ms, end_ms, total):
            if sign * total > span.power_w:
                raise _invalid(f"{total} W is not in the schedule, which has {sign * span.power_w} W then")
            if len(powers) > 1 and max(map(abs, powers)) * phases > span.power_w:
                raise _invalid(f"{max(powers, key=abs)} W is more than the share of one phase")
        start_ms = end_ms
    if chosen.available_wh is not None and energy > chosen.available_wh * W_MS_PER_WH:
        raise _invalid(f"{energy // W_MS_PER_WH} Wh exceed the available energy")


def _during(chosen: OfferedTuple, start_ms: int, end_ms: int, power_w: int) -> Iterator[tuple[Span, int]]:
    """Yield the offered spans of the power's direction in `[start_ms, end_ms)`, and the direction's sign."""
    spans, sign = (chosen.charge, 1) if power_w >= 0 else (chosen.discharge, -1)
    if not spans:
        yield Span(start_ms, end_ms, 0), sign
        return
    last = len(spans) - 1
    for index, span in enumerate(spans):
        # the first span applies before the schedule, the last one after it, as in the loop
        begins = span.start_ms < end_ms or index == 0
        ends = span.end_ms > start_ms or index == last
        if begins and ends:
            yield span, sign


def _invalid(why: str) -> Iso15118Error:
    return refuse(ResponseCode.FAILED_EVPowerProfileInvalid, why)
