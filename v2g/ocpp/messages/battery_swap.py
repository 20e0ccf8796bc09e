"""Battery swapping (functional block S, OCPP 2.1 only)."""

from typing import Annotated, Literal

from msgspec import Meta, field

from v2g.ocpp.messages import base
from v2g.ocpp.messages.authorization import IdToken

Percent = Annotated[float, Meta(ge=0, le=100)]


class BatteryData(base.Datatype, frozen=True, kw_only=True):
    """A battery in slot `evse_id`; states of charge and health in percent."""

    evse_id: base.NonNegative
    serial_number: base.String50
    soc: Percent = field(name="soC")
    soh: Percent = field(name="soH")
    production_date: base.DateTime | None = None
    vendor_info: base.String500 | None = None


BatterySwapEvent = Literal["BatteryIn", "BatteryOut", "BatteryOutTimeout"]


class BatterySwapRequest(base.Message, frozen=True, kw_only=True):
    """Station reports batteries put in or taken out; `request_id` joins the events of one swap (S01 to S03)."""

    battery_data: base.OneOrMore[BatteryData]
    event_type: BatterySwapEvent
    id_token: IdToken
    request_id: base.Identifier


class BatterySwapResponse(base.Message, frozen=True, kw_only=True):
    """Answer to BatterySwap."""


class RequestBatterySwapRequest(base.Message, frozen=True, kw_only=True):
    """CSMS begins a swap for a driver (S02)."""

    id_token: IdToken
    request_id: base.Identifier


class RequestBatterySwapResponse(base.Message, frozen=True, kw_only=True):
    """Answer to RequestBatterySwap."""

    status: base.GenericStatus
    status_info: base.StatusInfo | None = None
