"""Parameters that several routes have."""

from typing import Annotated

import msgspec

StationId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9*_=+|@.-]{1,48}\Z",  # OCPP-J 3.1.1, without the colon
        description="The station's OCPP identity.",
        examples=["CS-V2G-0001"],
    ),
]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="At most so many items.")]
Cursor = Annotated[
    str | None, msgspec.Meta(description="Where to go on, from the header `Link` of the page before; opaque.")
]


class Paged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a list."""

    limit: Limit = 100
    cursor: Cursor = None


class OneStation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which station."""

    station_id: StationId
