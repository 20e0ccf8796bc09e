"""The grid code of a charger in a file: only who knows the installer's code may replace it, and each change is noted.

The charger reads the file when it starts, and never writes it (R209).
"""

import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g import typed_json
from v2g.energy.grid_code import GridCode
from v2g.errors import ConfigError, RefusedError
from v2g.io.storage.journal_file import write_files
from v2g.pki.keys import read_secret
from v2g.pki.password_hash import hash_password, password_fits

SHORTEST_CODE: Final = 8
"""Characters of an installer's code, at least."""
_MOST_OCTETS: Final = 10_000_000
"""More than as many changes with the longest reasons need."""
_MOST_CHANGES: Final = 1000


class GridCodeChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A grid code was put in force: when (ms of UTC), which, and why."""

    utc_ms: Annotated[int, Meta(ge=0)]
    title: Annotated[str, Meta(max_length=200)]
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    reason: Annotated[str, Meta(max_length=500)]


class GridCodeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grid code in force, the hash of the installer's code, and all changes, the oldest first."""

    code: GridCode
    installer: Annotated[str, Meta(min_length=1, max_length=300)]
    changes: Annotated[tuple[GridCodeChange, ...], Meta(min_length=1, max_length=_MOST_CHANGES)]

    def __post_init__(self) -> None:
        """Reject values that the last change does not name: they were edited by hand."""
        if self.changes[-1].digest != self.code.digest:
            raise ValueError("its values are not those of the last change")


def read_grid_code(path: Path) -> GridCodeFile:
    """Return a file's content. Raises ConfigError, KeyAccessError if others may read it."""
    if not path.exists():
        raise ConfigError(f"{path} does not exist", hint=f"v2g grid-code set {path} NAME; names: v2g grid-code list")
    data = read_secret(path, _MOST_OCTETS)
    try:
        return typed_json.decode(data, GridCodeFile)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        hint = f"move it away and set the code anew: v2g grid-code set {path} NAME"
        raise ConfigError(f"{path} is no grid code of a charger: {str(error)[:200]}", hint=hint) from None


def set_grid_code(path: Path, code: GridCode, installer: str, *, reason: str, utc_ms: int) -> GridCodeFile:
    """Put a code in force in a file of mode 0600, which is created with this installer's code; return its content.

    Raises RefusedError for a wrong installer's code, ConfigError for a short one or no reason, StoreError.
    """
    if not 3 <= len(reason.strip()) <= 500:
        raise ConfigError("a reason has 3 to 500 characters", hint="write what was changed, and for whom")
    change = GridCodeChange(utc_ms=utc_ms, title=code.title, digest=code.digest, reason=reason.strip())
    if path.exists():
        before = read_grid_code(path)
        if not password_fits(installer, before.installer):
            raise RefusedError("that is not the installer's code", reason="installer_code")
        if len(before.changes) >= _MOST_CHANGES:
            raise RefusedError(f"{path} has {_MOST_CHANGES} changes", reason="full", hint="move it away")
        after = msgspec.structs.replace(before, code=code, changes=(*before.changes, change))
    else:
        if len(installer) < SHORTEST_CODE:
            raise ConfigError(f"an installer's code has at least {SHORTEST_CODE} characters")
        after = GridCodeFile(code=code, installer=hash_password(installer, os.urandom(16)), changes=(change,))
    write_files(path.parent, {path.name: msgspec.json.format(msgspec.json.encode(after))}, private=True)
    return after
