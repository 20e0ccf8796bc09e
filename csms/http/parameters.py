"""Parameters that several routes share."""

import re
from typing import Annotated, Any, Final

import msgspec

from csms.http.call import Call
from csms.http.problems import ApiError, conflict, missing

StationId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9*_=+|@.-]{1,48}\Z",  # OCPP-J 3.1.1, without the colon
        description="The station's OCPP identity.",
        examples=["CS-V2G-0001"],
    ),
]
PRINTED: Final = r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?\Z"
"""Pattern of names: no control characters, such as a line end, and no space at either end."""
Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
EvseId = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
RowNumber = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="Maximum number of items.")]
Cursor = Annotated[
    str | None, msgspec.Meta(description="Start of the page, from the previous page's header `Link`; opaque.")
]


class Paged(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a page."""

    limit: Limit = 100
    cursor: Cursor = None


class OfAnyStation(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filter for a list of all stations."""

    station_id: Annotated[str | None, msgspec.Meta(description="Only of this station.")] = None


class AtStation(Paged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a station's list."""

    station_id: StationId


class OneStation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Path of a station."""

    station_id: StationId


OnlySites = (
    Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=60)], ...],
        msgspec.Meta(min_length=1, max_length=100, description="The only sites that the role is for; null is all."),
    ]
    | None
)

OfStation = Annotated[str | None, msgspec.Meta(description="The station, where several have that id.")]


def one_of(call: Call, found: list[dict[str, Any]], station: str | None, what: str) -> dict[str, Any]:
    """Return the only match, or that of `station` if given. Raises ApiError: none, or several."""
    found = [row for row in call.own(found) if station in (None, row["station_id"])]
    if not found:
        raise missing(what)
    if len(found) > 1:
        names = ", ".join(row["station_id"] for row in found)
        raise conflict(f"several stations have that {what}: {names}", "add ?station=", code="ambiguous")
    return found[0]


def check_printed(**names: str) -> None:
    """Check names in a body whose type is that of stored documents, too; empty ones pass. Raises ApiError 400."""
    for key, name in names.items():
        if name and re.match(PRINTED, name) is None:
            raise ApiError(400, f"{key}: control characters, or space at an end", "leave them out")
