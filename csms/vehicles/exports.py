"""A vehicle's records as files: their columns in CSV and Parquet, or its positions for Traccar."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BufferedRandom
from typing import Final, Literal
from urllib.parse import urlencode

from v2g.energy.settlement.rows import csv_text
from v2g.extras import extras_named
from v2g.telemetry.signals import LATITUDE, LONGITUDE
from v2g.typed_json import Fields

CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"

OSMAND: Final = {
    LATITUDE: "lat",
    LONGITUDE: "lon",
    "vehicle.speed": "speed",
    "battery.soc": "batt",
    "location.hdop": "hdop",
}
"""Signals in a line for Traccar, and their parameters of the OsmAnd protocol (https://www.traccar.org/osmand)."""

_KNOT_KM_H: Final = 1.852

ExportFormat = Literal["csv", "parquet", "osmand"]

_KEY: Final = ("at_ms", "boot", "seq", "context")


class CsvExport:
    """CSV in UTF-8: time in UTC (ISO 8601), key, driving mode, and a column for each signal."""

    media_type = CSV

    def __init__(self, signals: Sequence[str], file: BufferedRandom) -> None:
        self._signals = signals
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        self._text.write(csv_text(["time", *_KEY, *signals]))

    def add(self, found: Sequence[dict[str, object]]) -> None:
        """Write a page of records."""
        self._text.write(csv_text(*map(self._row, found)))

    def _row(self, record: Fields) -> list[object]:
        at = datetime.fromtimestamp(record["at_ms"] / 1000, UTC).isoformat(timespec="milliseconds")
        return [at, *(record[name] for name in _KEY), *map(record["values"].get, self._signals)]

    def finish(self) -> None:
        """Write what is left."""
        self._text.detach()


class ParquetExport:
    """A Parquet file: time (UTC, ms), key, driving mode, and a double for each signal; a row group for each page."""

    media_type = PARQUET

    def __init__(self, signals: Sequence[str], file: BufferedRandom) -> None:
        """Raises ConfigError without pyarrow."""
        with extras_named():
            import pyarrow  # only for this
            from pyarrow import parquet
        self._signals = signals
        columns = {
            "time": pyarrow.timestamp("ms", tz="UTC"),
            "boot": pyarrow.int64(),
            "seq": pyarrow.int64(),
            "context": pyarrow.string(),
            **dict.fromkeys(signals, pyarrow.float64()),
        }
        self._schema = pyarrow.schema(columns)
        self._table = pyarrow.table
        self._writer = parquet.ParquetWriter(file, self._schema)

    def add(self, found: Sequence[Fields]) -> None:
        """Write a page of records."""
        columns = {
            "time": [each["at_ms"] for each in found],
            **{name: [each[name] for each in found] for name in ("boot", "seq", "context")},
            **{name: [each["values"].get(name) for each in found] for name in self._signals},
        }
        self._writer.write_table(self._table(columns, schema=self._schema))

    def finish(self) -> None:
        """Write what is left, and the footer."""
        self._writer.close()


class OsmandExport:
    """Positions, each as the query of a request to Traccar: a line at each change, once both coordinates are known."""

    media_type = "text/plain"

    def __init__(self, ev: str, file: BufferedRandom) -> None:
        self._ev, self._file = ev, file
        self._known: dict[str, float] = {}

    def add(self, found: Sequence[Fields]) -> None:
        """Write the positions of a page of records."""
        for each in found:
            self._known |= each["values"]
            if each["values"].keys() & {LATITUDE, LONGITUDE} and {LATITUDE, LONGITUDE} <= self._known.keys():
                values = {OSMAND[name]: value for name, value in self._known.items()}
                if "speed" in values:
                    values["speed"] = round(values["speed"] / _KNOT_KM_H, 2)
                query = urlencode({"id": self._ev, "timestamp": each["at_ms"], **values})
                self._file.write(f"{query}\n".encode())

    def finish(self) -> None:
        """Nothing is left."""


def open_export(
    kind: ExportFormat, ev: str, signals: Sequence[str], file: BufferedRandom
) -> CsvExport | ParquetExport | OsmandExport:
    """Begin to write to a file, which stays open. Raises ConfigError for Parquet without pyarrow."""
    if kind == "osmand":
        return OsmandExport(ev, file)
    return CsvExport(signals, file) if kind == "csv" else ParquetExport(signals, file)
