"""A back end of a grid test: the events that it reported and the limits in force."""

from typing import Any

from csms.grid.source import GridSource
from tests.csms.backend import Backend


class GridSite:
    """What the tests of each source of the grid signal look at; each adds its source."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the data of every event of that name."""
        return [dict(each.data) for each in self.backend.events.named(name)]

    @property
    def limits(self) -> tuple[int, int]:
        """The limits in force: import and export."""
        signal = self.backend.services[GridSource].current
        assert signal is not None
        return signal.site_import_limit_w, signal.export_limit_w
