"""Every kind of event in the feed."""

from typing import Final

from v2g.events import reported_by

_FEED_ONLY: Final = (
    "access_changed",
    "attestation_changed",
    "feed_lost",
    "fleet_changed",
    "grid_shares",
    "grid_signal",
    "ocpp_frame",
    "prequalification_changed",
    "site_changed",
    "token_group_put",
    "token_put",
    "token_removed",
    "token_status",
)
"""Changes by requests over HTTP, and frames: in the feed, not in the program's own events."""

KINDS: Final = tuple(sorted((*_FEED_ONLY, *(each.key[1] for each in reported_by("csms") if each.feed))))
