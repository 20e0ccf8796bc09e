"""Files of vehicles' values, written page by page: CSV, and Apache Parquet by pyarrow."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

from v2g.extras import extras_named

CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"

_KEY: Final = ("at_ms", "boot", "seq", "context")


class CsvExport:
    """CSV in UTF-8: time in UTC (ISO 8601), key, driving mode, and a column for each signal."""

    media_type = CSV

    def __init__(self, signals: Sequence[str]) -> None:
        self._signals = signals
        self._file = io.BytesIO()  # of encoded text: a StringIO would hold four bytes for each character
        self._text = io.TextIOWrapper(self._file, encoding="utf-8", newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow(["time", *_KEY, *signals])

    def add(self, found: Sequence[dict[str, Any]]) -> None:
        """Write a page of records."""
        for each in found:
            at = datetime.fromtimestamp(each["at_ms"] / 1000, UTC).isoformat(timespec="milliseconds")
            values = each["values"]
            self._writer.writerow(
                [at, *(each[name] for name in _KEY), *(values.get(name, "") for name in self._signals)]
            )

    def content(self) -> bytes:
        """Return the file."""
        self._text.flush()
        return self._file.getvalue()


class ParquetExport:
    """A Parquet file: time (UTC, ms), key, driving mode, and a double for each signal; a row group for each page."""

    media_type = PARQUET

    def __init__(self, signals: Sequence[str]) -> None:
        """Raises ConfigError without pyarrow."""
        with extras_named():
            import pyarrow  # only for this
            from pyarrow import parquet
        self._signals, self._file = signals, io.BytesIO()
        columns = {
            "time": pyarrow.timestamp("ms", tz="UTC"),
            "boot": pyarrow.int64(),
            "seq": pyarrow.int64(),
            "context": pyarrow.string(),
            **dict.fromkeys(signals, pyarrow.float64()),
        }
        self._schema = pyarrow.schema(columns)
        self._table = pyarrow.table
        self._writer = parquet.ParquetWriter(self._file, self._schema)

    def add(self, found: Sequence[dict[str, Any]]) -> None:
        """Write a page of records."""
        columns = {
            "time": [each["at_ms"] for each in found],
            **{name: [each[name] for each in found] for name in ("boot", "seq", "context")},
            **{name: [each["values"].get(name) for each in found] for name in self._signals},
        }
        self._writer.write_table(self._table(columns, schema=self._schema))

    def content(self) -> bytes:
        """Return the file."""
        self._writer.close()
        return self._file.getvalue()


def open_export(kind: Literal["csv", "parquet"], signals: Sequence[str]) -> CsvExport | ParquetExport:
    """Begin a file. Raises ConfigError for Parquet without pyarrow."""
    return CsvExport(signals) if kind == "csv" else ParquetExport(signals)
