"""Keys for files that are sealed."""

from pathlib import Path

from v2g.io.storage.record_keys import RecordKeys

Keys = RecordKeys | None


def new_keys(path: Path, count: int = 1) -> RecordKeys:
    """Append so many keys to a file, and return them all."""
    for _ in range(count):
        RecordKeys.rotate(path)
    return RecordKeys(path)
