"""Recordings of a CAN bus: candump (.log), BLF, ASC, MF4, TRC, CSV; all but the first also by gzip (.asc.gz).

python-can reads them, except for candump's logs, of whose error frames it keeps neither class nor data. Times are UTC,
s since 1970, where the recording has a date; ASC has it in the local time of whoever reads it.
"""

import gzip
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from v2g.errors import ConfigError, FrameError, V2GError
from v2g.io.can import CanFrame, frame_of
from v2g.text import printable

_LINE: Final = re.compile(
    r"\s*\((?P<at>\d{1,12}\.\d{1,9})\)\s+\S{1,32}\s+(?P<id>[0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})"
    r"(?:\s+\[(?P<length>\d\d?)\]\s+(?:(?P<remote_request>remote request)|(?P<shown>(?:[0-9A-Fa-f]{2}\s*){0,64}))"
    r"|#(?P<remote>R\d?)|##[0-9A-Fa-f](?P<fd>(?:[0-9A-Fa-f]{2}){0,64})|#(?P<data>(?:[0-9A-Fa-f]{2}){0,8}))"
    r"(?:_[0-9A-Fa-f])?(?:\s+[RT])?\s*(?:'.*'|ERRORFRAME)?\s*\Z"
)
"""A line of `candump -l`: `(time) interface ID#DATA`, for CAN FD `ID##flags DATA`; or as `candump -ta` shows it:
`(time) interface ID [length] DA TA`."""

_BINARY: Final = {".blf", ".mf4"}
_ERROR, _LINE_LENGTH = 0x20000000, 512
MOST_ERRORS: Final = 100
"""Lines that are skipped; at more, what follows is not read."""


def recorded(path: Path, errors: list[V2GError] | None = None) -> Iterator[CanFrame]:
    """Yield the frames of a recording, except remote frames.

    Raises ConfigError for a file that cannot be read and a format that is not known here, FrameError
    for one that is damaged, after the frames before. With `errors` what is damaged is skipped, and added to it instead.
    """
    found: list[V2GError] = [] if errors is None else errors
    for frame in _candump(path, found) if path.suffix.lower() == ".log" else _by_python_can(path, found):
        if errors is None and found:
            break
        yield frame
    if errors is None and found:
        raise found[0]


class _Warned(logging.Handler):
    """Takes what python-can's readers warn of: lines that they skip."""

    def __init__(self, path: Path, errors: list[V2GError]) -> None:
        super().__init__(logging.WARNING)
        self._path, self._errors = path, errors

    def emit(self, record: logging.LogRecord) -> None:
        """Add the message of a reader."""
        if len(self._errors) < MOST_ERRORS:
            self._errors.append(FrameError(f"{self._path}: {printable(record.getMessage()[:_LINE_LENGTH])}"))


def _by_python_can(path: Path, errors: list[V2GError]) -> Iterator[CanFrame]:
    """Yield the frames that python-can reads. It says no line, so a place is the number of frames before it."""
    count, log, warned = 0, logging.getLogger("can.io"), _Warned(path, errors)
    log.addHandler(warned)
    try:
        with _opened(path) as file:
            # python-can's reader of an open file: by name it would leave damaged ones open
            import can  # 80 ms to import

            readers: dict[str, Callable[[Any], Iterable[Any]]] = {
                ".asc": partial(can.ASCReader, relative_timestamp=False),
                ".blf": can.BLFReader,
                ".csv": can.CSVReader,
                ".mf4": can.MF4Reader,
                ".trc": can.TRCReader,
            }
            if _suffix(path) not in readers:
                raise ConfigError(f"{path}: not a known format", hint=f"use .log, {', '.join(readers)}")
            reader = readers[_suffix(path)](file)
            for each in reader:
                count += 1
                if getattr(reader, "timestamps_format", None) == "relative":
                    raise FrameError(f"{path}: times since the line before", hint="save it with absolute times")
                if not each.is_remote_frame:
                    yield frame_of(each)
        whole = getattr(reader, "file_size", 0)  # of BLF
        if path.suffix.lower() == ".blf" and (size := path.stat().st_size) < whole:
            raise FrameError(f"{path}: cut short after {count} frames: {size} of {whole} octets")
    except FrameError as error:
        errors.append(error)
    except (V2GError, GeneratorExit):
        raise
    except NotImplementedError:
        raise ConfigError(f"{path}: MF4 needs the package asammdf", hint="pip install asammdf") from None
    except Exception as error:  # noqa: BLE001 - each reader of python-can has errors of its own
        what = printable(f"{type(error).__name__}: {error}"[:_LINE_LENGTH])
        errors.append(FrameError(f"{path}: damaged after {count} frames: {what}"))
    finally:
        log.removeHandler(warned)


def _opened(path: Path) -> Any:
    binary = _suffix(path) in _BINARY
    try:
        if path.suffix.lower() == ".gz":
            return gzip.open(path, "rb" if binary else "rt", encoding=None if binary else "cp1252")
        return path.open("rb") if binary else path.open(encoding="cp1252", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _suffix(path: Path) -> str:
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def _candump(path: Path, errors: list[V2GError]) -> Iterator[CanFrame]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as file:
            number = 0
            while line := file.readline(_LINE_LENGTH):
                number += 1
                rest = line
                while rest and not rest.endswith("\n"):
                    rest = file.readline(_LINE_LENGTH)
                found = _LINE.fullmatch(line)
                shown = "" if found is None else found["shown"] or ""
                if found is None or (shown and len(bytes.fromhex(shown)) != int(found["length"])):
                    if line.strip():
                        errors.append(FrameError(f"{path}: line {number} is not one of candump -l or -ta"))
                    if len(errors) >= MOST_ERRORS:
                        return
                elif found["remote"] is None and found["remote_request"] is None:
                    frame_id = int(found["id"], 16)
                    data = bytes.fromhex(found["fd"] or found["data"] or shown)
                    extended = len(found["id"]) == 8
                    error = bool(frame_id & _ERROR)
                    yield CanFrame(float(found["at"]), frame_id & (_ERROR - 1), data, extended and not error, error)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
