"""Frames of OCPP as records: in a file that grows while a run goes on, and in the records of `--json`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from v2g import typed_json
from v2g.errors import ConfigError, StoreError
from v2g_cli.conform.running import read_cases
from v2g_testkit.ocpp.connection import Frame, decoded


def records_of(frames: Iterable[Frame]) -> list[dict[str, object]]:
    """Return frames as records: `frame` is the JSON of a frame, else `text` has what it is."""
    return [_record(each) for each in frames]


def _record(frame: Frame) -> dict[str, object]:
    record = {name: value for name, value in msgspec.to_builtins(frame).items() if value not in ("", 0)}
    content = decoded(frame.text)
    if frame.way == "note" or not isinstance(content, list):
        return record
    del record["text"]
    identifier = {"id": content[1]} if len(content) > 1 and isinstance(content[1], str) else {}
    return record | identifier | {"frame": content}


def _frame(record: Mapping[str, object]) -> Frame:
    text = record["text"] if "text" in record else json.dumps(record["frame"])
    return typed_json.convert({"at_s": 0.0, **record, "text": text}, Frame)


def read_frames(file: Path) -> dict[str, list[Frame]]:
    """Return the frames in the records of an earlier run (`--json`), by case. Raises ConfigError."""
    found: dict[str, list[Frame]] = {}
    try:
        for record in read_cases(file):
            if record.get("frames"):
                found[record["case"]] = [_frame(each) for each in record["frames"]]
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: {error}", hint="records of a run with --json, a line each") from None
    return found


class FrameFile:
    """Appends each frame to a file when it is sent or received, a JSON object a line, with the `case` of that moment.

    Whatever ends the tester, also in the middle of a case, the file has the frames so far. Without a path it does
    nothing.
    """

    def __init__(self, path: Path | None) -> None:
        """Begin an empty file. Raises StoreError."""
        self._path = path
        self.case = ""
        """The case that runs, or ran last; empty before the first one."""
        self._write("w", "")

    def append(self, frame: Frame) -> None:
        """Append a frame. Raises StoreError."""
        (record,) = records_of((frame,))
        self._write("a", f"{json.dumps({'case': self.case, **record})}\n")

    def _write(self, mode: str, text: str) -> None:
        if self._path is None:
            return
        try:
            with self._path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            hint = "choose a file that this user may write"
            raise StoreError(f"{self._path}: {error.strerror}", hint=hint) from None
