"""Ids that stations choose themselves: two stations may have chosen the same."""

from typing import Annotated, Any

import msgspec

from csms.api.problems import conflict, missing

OfStation = Annotated[str | None, msgspec.Meta(description="Whose, where several stations have that id.")]


def one_of(found: list[dict[str, Any]], station: str | None, what: str) -> dict[str, Any]:
    """Return the only match, among those of `station` where it is named. Raises ApiError: none, or several."""
    if station is not None:
        found = [row for row in found if row["station_id"] == station]
    if not found:
        raise missing(what)
    if len(found) > 1:
        names = ", ".join(row["station_id"] for row in found)
        raise conflict(f"several stations have that {what}: {names}", "add ?station=", code="ambiguous")
    return found[0]
