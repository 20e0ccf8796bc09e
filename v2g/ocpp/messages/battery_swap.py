"""Battery swapping (functional block S, OCPP 2.1 only)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.base import (
    Datatype,
    DateTime,
    GenericStatus,
    Identifier,
    Message,
    NonNegative,
    OneOrMore,
    StatusInfo,
    String50,
    String500,
)

Percent = Annotated[float, Meta(ge=0, le=100)]


class BatteryData(Datatype, frozen=True, kw_only=True):
    """A battery in slot `evse_id`; states of charge and health in percent."""

    evse_id: NonNegative
    serial_number: String50
    soc: Percent = field(name="soC")
    soh: Percent = field(name="soH")
    production_date: DateTime | None = None
    vendor_info: String500 | None = None


BatterySwapEvent = Literal["BatteryIn", "BatteryOut", "BatteryOutTimeout"]


class BatterySwapRequest(Message, frozen=True, kw_only=True):
    """Station reports batteries put in or taken out; `request_id` joins the events of one swap (S01 to S03)."""

    battery_data: OneOrMore[BatteryData]
    event_type: BatterySwapEvent
    id_token: IdToken
    request_id: Identifier


class BatterySwapResponse(Message, frozen=True, kw_only=True):
    """Answer to BatterySwap."""


class RequestBatterySwapRequest(Message, frozen=True, kw_only=True):
    """CSMS begins a swap for a driver (S02)."""

    id_token: IdToken
    request_id: Identifier


class RequestBatterySwapResponse(Message, frozen=True, kw_only=True):
    """Answer to RequestBatterySwap."""

    status: GenericStatus
    status_info: StatusInfo | None = None
