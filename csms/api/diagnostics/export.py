"""Files of vehicles' values: CSV, and Apache Parquet by pyarrow."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from v2g.extras import extras_named

CSV: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"

_KEY: Final = ("at_ms", "boot", "seq", "context")


def as_csv(found: Sequence[dict[str, Any]], signals: Sequence[str]) -> bytes:
    """Return records as CSV in UTF-8: time in UTC (ISO 8601), key, driving mode, and a column for each signal."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["time", *_KEY, *signals])
    for each in found:
        at = datetime.fromtimestamp(each["at_ms"] / 1000, UTC).isoformat(timespec="milliseconds")
        writer.writerow([at, *(each[name] for name in _KEY), *(each["values"].get(name, "") for name in signals)])
    return text.getvalue().encode()


def as_parquet(found: Sequence[dict[str, Any]], signals: Sequence[str]) -> bytes:
    """Return records as a Parquet file: time (UTC, ms), key, driving mode, and a double for each signal.

    Raises ConfigError without pyarrow.
    """
    with extras_named():
        import pyarrow  # only for this
        from pyarrow import parquet
    columns = {
        "time": pyarrow.array([each["at_ms"] for each in found], pyarrow.timestamp("ms", tz="UTC")),
        "boot": pyarrow.array([each["boot"] for each in found], pyarrow.int64()),
        "seq": pyarrow.array([each["seq"] for each in found], pyarrow.int64()),
        "context": pyarrow.array([each["context"] for each in found], pyarrow.string()),
        **{name: pyarrow.array([each["values"].get(name) for each in found], pyarrow.float64()) for name in signals},
    }
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()
