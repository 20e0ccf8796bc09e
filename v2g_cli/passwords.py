"""Files of stations' passwords: CSV of identity and password, readable by their owner only, never overwritten."""

import csv
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from csms.admission.rules import MAX_LENGTH, MAX_PASSWORDS, MIN_LENGTH, check_password
from v2g.energy.settlement.rows import csv_text, unmarked
from v2g.errors import ConfigError, RefusedError, StoreError
from v2g.io.websocket.server import IDENTITY
from v2g.pki.keys import read_secret
from v2g_cli.output import open_new, say

_HEADER: Final = ("identity", "password")
_FORM: Final = "one station in each line, such as CS-1,a-password-of-the-station"
_MOST_BYTES: Final = 256 * MAX_PASSWORDS
_ENDS: Final = re.compile(r"\r\n|\r|\n")


def read_passwords(file: Path) -> dict[str, str]:
    """Return the passwords in a file, by identity; a first line `identity,password` is skipped.

    Every faulty line is reported on standard error by its number, without its password. Raises ConfigError if there is
    one, KeyAccessError for a file that others may read.
    """
    data = read_secret(file, _MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ConfigError(f"{file} has more than {_MOST_BYTES} bytes", hint=f"{MAX_PASSWORDS} passwords at once")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{file}:{line}: not UTF-8", hint="save the file as UTF-8") from None
    found, faults = parse_passwords(text)
    for number, fault in faults:
        say(f"{file}:{number}: {fault}", err=True)
    if faults:
        raise ConfigError(f"{file}: {len(faults)} faulty lines, nothing was changed", hint=_FORM)
    if not found:
        raise ConfigError(f"{file} has no passwords", hint=_FORM)
    return found


def parse_passwords(text: str) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """Return the passwords in CSV by identity, and the faults by line. A line holds one record."""
    found: dict[str, str] = {}
    first: dict[str, int] = {}
    faults: list[tuple[int, str]] = []
    for number, line in enumerate(_ENDS.split(text), 1):
        if not line.strip():
            continue
        try:
            fields = tuple(map(unmarked, next(csv.reader([line], strict=True))))
        except csv.Error as error:
            faults.append((number, f"invalid CSV: {error}"))
            continue
        if number == 1 and fields == _HEADER:
            continue
        if fault := _fault(fields, first):
            faults.append((number, fault))
        else:
            found[fields[0]], first[fields[0]] = fields[1], number
        if len(found) > MAX_PASSWORDS:
            faults.append((number, f"more than {MAX_PASSWORDS} stations"))
            break
    return found, faults


def _fault(fields: tuple[str, ...], first: Mapping[str, int]) -> str:
    """Return the fault of a record, without its password; empty if it is valid."""
    if len(fields) != len(_HEADER):
        return f"{len(fields)} fields instead of identity,password"
    identity, password = fields
    if not IDENTITY.fullmatch(identity) or identity.startswith("."):
        return "invalid identity: 1 to 48 letters, digits or *_=+|@.-"
    if identity in first:
        return f"{identity} is listed twice (first in line {first[identity]})"
    try:
        check_password(password)
    except RefusedError:
        return f"{identity}: a password must have {MIN_LENGTH} to {MAX_LENGTH} printable characters"
    return ""


class PasswordFile:
    """A new file of mode 0600. Raises ConfigError if it exists: passwords are written once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = open_new(path, hint="choose another name: passwords are never overwritten")

    def write(self, passwords: Mapping[str, str]) -> None:
        """Write the passwords durably. Raises StoreError."""
        try:
            os.fchmod(self._number, 0o600)
            with os.fdopen(self._number, "w", encoding="utf-8", newline="") as file:
                file.write(csv_text(_HEADER, *passwords.items()))
                file.flush()
                os.fsync(self._number)
        except OSError as error:
            hint = "they are set but lost: generate them again with --replace, into another file"
            raise StoreError(f"{self._path}: {error.strerror}", hint=hint) from None

    def discard(self) -> None:
        """Remove the file: it is not needed."""
        os.close(self._number)
        self._path.unlink(missing_ok=True)
