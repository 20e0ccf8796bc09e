"""Reservations (functional block H)."""

from typing import Annotated, Literal

from msgspec import Meta

from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import DateTime, Message, NonNegative, NonNegativeId, StatusInfo, since_21, values_201

ConnectorType = Annotated[
    str,
    Meta(max_length=20),
    values_201(
        "cCCS1",
        "cCCS2",
        "cG105",
        "cTesla",
        "cType1",
        "cType2",
        "s309-1P-16A",
        "s309-1P-32A",
        "s309-3P-16A",
        "s309-3P-32A",
        "sBS1361",
        "sCEE-7-7",
        "sType2",
        "sType3",
        "Other1PhMax16A",
        "Other1PhOver16A",
        "Other3Ph",
        "Pan",
        "wInductive",
        "wResonant",
        "Undetermined",
        "Unknown",
    ),
]


class ReserveNowRequest(Message, frozen=True, kw_only=True):
    """CSMS reserves an EVSE, any EVSE with a type of connector, or any EVSE (H01)."""

    id: NonNegativeId
    expiry_date_time: DateTime
    connector_type: ConnectorType | None = None
    id_token: IdToken
    evse_id: NonNegative | None = None
    group_id_token: IdToken | None = None


ReserveNowStatus = Literal["Accepted", "Faulted", "Occupied", "Rejected", "Unavailable"]


class ReserveNowResponse(Message, frozen=True, kw_only=True):
    """Answer to ReserveNow."""

    status: ReserveNowStatus
    status_info: StatusInfo | None = None


class CancelReservationRequest(Message, frozen=True, kw_only=True):
    """CSMS cancels a reservation (H02)."""

    reservation_id: NonNegativeId


CancelReservationStatus = Literal["Accepted", "Rejected"]


class CancelReservationResponse(Message, frozen=True, kw_only=True):
    """Answer to CancelReservation."""

    status: CancelReservationStatus
    status_info: StatusInfo | None = None


ReservationUpdateStatus = Annotated[Literal["Expired", "Removed", "NoTransaction"], since_21("NoTransaction")]


class ReservationStatusUpdateRequest(Message, frozen=True, kw_only=True):
    """Station reports that a reservation ended without a transaction (H01, H04)."""

    reservation_id: NonNegativeId
    reservation_update_status: ReservationUpdateStatus


class ReservationStatusUpdateResponse(Message, frozen=True, kw_only=True):
    """Answer to ReservationStatusUpdate."""
