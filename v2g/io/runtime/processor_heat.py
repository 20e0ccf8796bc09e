"""Looks whether the processor is hot or throttled (R130): what it has left goes to control, telemetry waits.

Linux shows both as files (Documentation/driver-api/thermal/sysfs-api.rst): temperatures of thermal zones, in
thousandths of a degree, and the states of cooling devices, of which those of processors lower their frequency.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, NoReturn

import msgspec
from msgspec import Meta

THROTTLED: Final = "cpu_throttled"
"""What it is called to others."""

THERMAL: Final = Path("/sys/class/thermal")

_PROCESSORS: Final = ("cpu", "soc", "pkg", "core")
_COOLING: Final = ("Processor", "thermal-cpu", "cpufreq", "cpu-")


class ProcessorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the processor counts as hot."""

    thermal: Annotated[
        Path | None, Meta(description="folder of thermal zones and cooling devices; default: /sys/class/thermal")
    ] = None
    hot_c: Annotated[float, Meta(gt=0, le=150, description="hot from here on, degrees C; throttled it always is")] = (
        85.0
    )
    cool_c: Annotated[float, Meta(gt=0, le=150, description="until here again, degrees C")] = 75.0
    poll_s: Annotated[float, Meta(gt=0, le=300, description="interval, s")] = 5.0

    def __post_init__(self) -> None:
        """Reject limits in the wrong order."""
        if self.cool_c >= self.hot_c:
            raise ValueError("cool_c is not below hot_c")


class HeatReading(msgspec.Struct, frozen=True):
    """The hottest zone of the processor, degrees C (None: unknown), and whether its frequency is lowered."""

    celsius: float | None = None
    throttled: bool = False


def read_processor(folder: Path) -> HeatReading:
    """Return what a folder of thermal zones says; what cannot be read is unknown."""
    zones = {kind: celsius for each in sorted(folder.glob("thermal_zone*")) for kind, celsius in _zone(each)}
    own = [celsius for kind, celsius in zones.items() if any(word in kind.lower() for word in _PROCESSORS)]
    cooling = [each for each in folder.glob("cooling_device*") if _text(each / "type").startswith(_COOLING)]
    throttled = any(_text(each / "cur_state") not in ("", "0") for each in cooling)
    return HeatReading(max(own or zones.values(), default=None), throttled)


def _zone(folder: Path) -> list[tuple[str, float]]:
    try:
        return [(f"{_text(folder / 'type')} {folder.name}", int(_text(folder / "temp")) / 1000)]
    except ValueError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:  # a zone that is switched off does not let itself be read
        return ""


class ProcessorWatch:
    """Calls `changed` when the processor becomes hot, and when it is no longer: with the reading, whether it is hot,
    and by how much this program's event loop was late, s."""

    def __init__(
        self,
        config: ProcessorConfig,
        changed: Callable[[HeatReading, bool, float], None],
        read: Callable[[Path], HeatReading] = read_processor,
    ) -> None:
        self._config, self._changed, self._read = config, changed, read
        self.hot = False

    def look(self, reading: HeatReading, late_s: float) -> None:
        """Take a reading. Without a temperature only throttling counts."""
        limit = self._config.cool_c if self.hot else self._config.hot_c
        hot = reading.throttled or (reading.celsius is not None and reading.celsius > limit)
        if hot is not self.hot:
            self.hot = hot
            self._changed(reading, hot, late_s)

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        now = asyncio.get_running_loop().time
        late_s = 0.0
        while True:
            self.look(await asyncio.to_thread(self._read, self._config.thermal or THERMAL), late_s)
            due = now() + self._config.poll_s
            await asyncio.sleep(self._config.poll_s)
            late_s = max(0.0, now() - due)
