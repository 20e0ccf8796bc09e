"""A folder of thermal zones, as Linux has them."""

from pathlib import Path


class Thermal:
    """Files under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._zones, self._devices = folder, 0, 0

    def zone(self, kind: str, text: str) -> Path:
        """Add a zone; return the file of its temperature."""
        zone = self._folder / f"thermal_zone{self._zones}"
        zone.mkdir(parents=True)
        self._zones += 1
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(text + "\n")
        return zone / "temp"

    def cooling(self, kind: str, state: str) -> Path:
        """Add a cooling device; return the file of its state."""
        device = self._folder / f"cooling_device{self._devices}"
        device.mkdir(parents=True)
        self._devices += 1
        (device / "type").write_text(kind + "\n")
        (device / "cur_state").write_text(state + "\n")
        return device / "cur_state"
