"""Availability of connectors, and the heartbeat (functional block G)."""

from typing import Literal

from v2g.ocpp.messages.base import EVSE, DateTime, Message, NonNegative, StatusInfo

ConnectorStatus = Literal["Available", "Occupied", "Reserved", "Unavailable", "Faulted"]


class StatusNotificationRequest(Message, frozen=True, kw_only=True):
    """Station reports the state of a connector (G01)."""

    timestamp: DateTime
    connector_status: ConnectorStatus
    evse_id: NonNegative
    connector_id: NonNegative


class StatusNotificationResponse(Message, frozen=True, kw_only=True):
    """Answer to StatusNotification."""


class HeartbeatRequest(Message, frozen=True, kw_only=True):
    """Station's sign of life; the answer has the time (G02)."""


class HeartbeatResponse(Message, frozen=True, kw_only=True):
    """Answer to Heartbeat."""

    current_time: DateTime


OperationalStatus = Literal["Inoperative", "Operative"]


class ChangeAvailabilityRequest(Message, frozen=True, kw_only=True):
    """CSMS takes a station, EVSE or connector in or out of service (G03, G04)."""

    evse: EVSE | None = None
    operational_status: OperationalStatus


ChangeAvailabilityStatus = Literal["Accepted", "Rejected", "Scheduled"]


class ChangeAvailabilityResponse(Message, frozen=True, kw_only=True):
    """Answer to ChangeAvailability."""

    status: ChangeAvailabilityStatus
    status_info: StatusInfo | None = None
