"""What this node has learned of stations' smart charging: what they do not have, and whose profiles it has read."""

from collections import defaultdict


class StationAbilities:
    """What a station lacks, until it boots with other firmware, and whether its profiles are known, until it boots."""

    def __init__(self) -> None:
        self._lacking: defaultdict[str, set[str]] = defaultdict(set)
        self._read: set[str] = set()

    def lack(self, station_id: str, what: str) -> None:
        """Note that a station answers a request with NotImplemented, NotSupported or UnknownVendorId."""
        self._lacking[station_id].add(what)

    def has(self, station_id: str, what: str) -> bool:
        """Return whether a request may be worth sending."""
        return what not in self._lacking.get(station_id, ())

    def note_read(self, station_id: str) -> None:
        """Note that a station has reported its profiles."""
        self._read.add(station_id)

    def is_read(self, station_id: str) -> bool:
        """Return whether a station has reported its profiles since it booted."""
        return station_id in self._read

    def forget(self, station_id: str, *, firmware_changed: bool) -> None:
        """Forget what a boot may have changed."""
        self._read.discard(station_id)
        if firmware_changed:
            self._lacking.pop(station_id, None)
