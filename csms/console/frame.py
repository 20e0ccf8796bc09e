"""The frame of pages: the areas of the rail, and the pages that each has as tabs."""

from collections.abc import Mapping
from typing import Final

import msgspec


class Area(msgspec.Struct, frozen=True):
    """An entry of the rail. `tabs`: its pages by the names of their handlers; `also`: paths of pages below them."""

    name: str
    tabs: Mapping[str, str]
    also: tuple[str, ...] = ()

    def has(self, path: str, tabs: Mapping[str, str]) -> bool:
        """Return whether a page (path below the console's) is of this area; `tabs`: paths by name of the handler."""
        starts = (*(tabs[each] for each in self.tabs), *self.also)
        return any(path == each or (each and path.startswith(f"{each}/")) for each in starts)


AREAS: Final = {
    "today": Area("Today", {"show_overview": "Today", "show_trends": "Trends"}),
    "alerts": Area("Alerts", {"list_alerts": "Alerts"}),
    "sites": Area("Sites", {"list_sites": "Sites", "show_map": "Map"}),
    "stations": Area(
        "Stations",
        {
            "list_stations": "Stations",
            "list_campaigns": "Updates",
            "list_templates": "Templates",
            "show_inventory": "Installed",
            "list_uptime": "Uptime",
            "list_certificates": "Certificates",
        },
    ),
    "sessions": Area(
        "Sessions",
        {
            "list_sessions": "Sessions",
            "list_tokens": "Tokens",
            "list_contracts": "Contracts",
            "list_quarantine": "On hold",
        },
    ),
    "v2g": Area("V2G", {"show_v2g": "V2G", "list_vehicles": "Vehicles", "show_batteries": "Batteries"}),
    "money": Area(
        "Money",
        {
            "list_tariffs": "Tariffs",
            "list_settlements": "Settlements",
            "show_report": "Reports",
            "ask_for_bundle": "Verify a bundle",
        },
    ),
    "more": Area(
        "Administration",
        {"list_users": "Users", "show_audit": "Audit", "show_health": "Health", "list_partners": "Roaming"},
    ),
}
"""By glyph. The last stands at the foot."""
