"""Notifications to a vehicle in its responses (EVSEStatus), and their duration."""

from typing import Final

import msgspec

NOTICES: Final = (
    "Terminate",
    "Pause",
    "ServiceRenegotiation",
    "ExitStandby",
    "ScheduleRenegotiation",
    "MeteringConfirmation",
)
"""Possible notifications, most urgent first."""

NOTICE_S: Final = 60.0
"""How long a vehicle may take to follow a notification; then the session ends (Terminate) or the request lapses."""

SIGNING_S: Final = 5.0
"""How long a pause waits for the vehicle's signature of the meter reading."""


class VehicleNotice(msgspec.Struct, frozen=True):
    """A notification in EVSEStatus, by its wire name; `until` is the vehicle's deadline."""

    notification: str
    until: float
    ahead_until: float = 0.0
    """Until then it precedes a request for a pause."""


class Notices:
    """Requests that the vehicle has not followed yet, by their wire name."""

    def __init__(self) -> None:
        self._open: dict[str, VehicleNotice] = {}

    def __contains__(self, notification: str) -> bool:
        return notification in self._open

    def ask(self, notification: str, now: float) -> None:
        """Request from now on, or continue a request."""
        before = self._open.get(notification)
        self._open[notification] = VehicleNotice(notification, now + NOTICE_S, before.ahead_until if before else 0.0)

    def sign_first(self, now: float) -> None:
        """Let the open request for a signature precede a pause: a paused vehicle signs nothing."""
        wanted = self._open["MeteringConfirmation"]
        self._open["MeteringConfirmation"] = msgspec.structs.replace(wanted, ahead_until=now + SIGNING_S)

    def is_open(self, notification: str, now: float) -> bool:
        """Return whether the vehicle still has time to follow this request."""
        notice = self._open.get(notification)
        return notice is not None and notice.until > now

    def has_lapsed(self, notification: str, now: float) -> bool:
        """Return whether the vehicle has not followed this request in time."""
        return notification in self._open and not self.is_open(notification, now)

    def followed(self, notification: str) -> None:
        """The vehicle has followed this request; an empty name has no effect."""
        self._open.pop(notification, None)

    def current(self, now: float) -> VehicleNotice | None:
        """Return the most urgent request."""
        for name in NOTICES if self._open else ():
            notice = self._open.get(name)
            ahead = self._open.get("MeteringConfirmation") if name == "Pause" and notice is not None else None
            if ahead is not None and ahead.ahead_until > now:
                return ahead
            if notice is not None and (notice.until > now or name == "Terminate"):
                return notice
        return None
