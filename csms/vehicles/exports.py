"""A vehicle's records as files: their columns in CSV and Parquet."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BufferedRandom
from typing import Any, Final, Literal

from v2g.energy.settlement.rows import csv_text
from v2g.extras import extras_named

CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"

_KEY: Final = ("at_ms", "boot", "seq", "context")


class CsvExport:
    """CSV in UTF-8: time in UTC (ISO 8601), key, driving mode, and a column for each signal."""

    media_type = CSV

    def __init__(self, signals: Sequence[str], file: BufferedRandom) -> None:
        self._signals = signals
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        self._text.write(csv_text(["time", *_KEY, *signals]))

    def add(self, found: Sequence[dict[str, Any]]) -> None:
        """Write a page of records."""
        self._text.write(csv_text(*map(self._row, found)))

    def _row(self, record: dict[str, Any]) -> list[object]:
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

    def add(self, found: Sequence[dict[str, Any]]) -> None:
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


def open_export(
    kind: Literal["csv", "parquet"], signals: Sequence[str], file: BufferedRandom
) -> CsvExport | ParquetExport:
    """Begin to write to a file, which stays open. Raises ConfigError for Parquet without pyarrow."""
    return CsvExport(signals, file) if kind == "csv" else ParquetExport(signals, file)
