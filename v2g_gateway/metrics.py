"""The gateway's metrics, in a file for the textfile collector of Prometheus' node exporter: nothing listens for it."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from v2g.io.metrics import counter, exposition, gauge

_log = logging.getLogger(__name__)

INTERVAL_S: Final = 15.0


class GatewayReading(msgspec.Struct, frozen=True):
    """What a gateway says of itself: counts since its start, and the state of outbox (bytes) and uplink."""

    utc_ms: int
    stored: int
    dropped: int
    outbox_bytes: int
    outbox_capacity_bytes: int
    delivering: bool
    on_fallback: bool
    frames: Mapping[str, int]
    """By what became of them."""
    bus_faults: Mapping[str, int]
    absent: Mapping[str, int]
    """Values that were not available, invalid or states, by signal."""


class MetricsFile:
    """Writes `path` every 15 s while it runs, and removes it at the end. A disk that fails costs metrics only."""

    def __init__(self, path: Path, read: Callable[[], GatewayReading], disk: Path) -> None:
        """`disk`: a folder of the disk whose free space is reported."""
        self._path, self._read, self._disk = path, read, disk
        self._part = path.with_name(f".{path.name}.part")

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                try:
                    await asyncio.to_thread(self._write, self._read())
                except OSError as error:
                    _log.warning("metrics: %s", error)
                await asyncio.sleep(INTERVAL_S)
        finally:
            for each in (self._part, self._path):
                with contextlib.suppress(OSError):
                    each.unlink()

    def _write(self, now: GatewayReading) -> None:
        self._part.write_bytes(
            exposition(
                (
                    gauge(
                        "v2g_gateway_updated_seconds",
                        "When the file was written, s since 1970: that of a killed gateway stays.",
                        now.utc_ms / 1000,
                    ),
                    counter(
                        "v2g_gateway_records_stored",
                        "Records that the back end has stored, since the start.",
                        now.stored,
                    ),
                    counter("v2g_gateway_records_dropped", "Records dropped by a full outbox, ever.", now.dropped),
                    gauge("v2g_gateway_outbox_bytes", "Records that wait for the back end.", now.outbox_bytes),
                    gauge("v2g_gateway_outbox_capacity_bytes", "`max_outbox_bytes`.", now.outbox_capacity_bytes),
                    gauge("v2g_gateway_delivering", "1: the back end answers, or nothing waits.", now.delivering),
                    gauge("v2g_gateway_on_fallback", "1: the second uplink is used.", now.on_fallback),
                    counter(
                        "v2g_gateway_frames",
                        "CAN frames: known, unknown, malformed, repeated, outlier.",
                        now.frames,
                        "result",
                    ),
                    counter("v2g_gateway_bus_faults", "Faults of the CAN bus.", now.bus_faults, "fault"),
                    counter(
                        "v2g_gateway_values_absent",
                        "Values on the bus that were not available, invalid or named states.",
                        now.absent,
                        "signal",
                    ),
                    gauge(
                        "v2g_gateway_disk_free_bytes",
                        "Free space of the disk with the outbox.",
                        shutil.disk_usage(self._disk).free,
                    ),
                )
            )
        )
        self._part.chmod(0o644)  # for the exporter's user; nothing in it names the vehicle
        self._part.replace(self._path)
