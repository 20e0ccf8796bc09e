"""Backup and restore: one file with a consistent snapshot, portable between SQLite and PostgreSQL.

The file is gzip over JSON lines: a header with the revision of the schema, then each table's name and columns followed
by its rows, tables before those that refer to them, and at the end the number of rows and the SHA-256 of everything
before. It is read within one snapshot while the back end works; it is restored into an empty database, completely
or not at all; rows of an older program are migrated afterwards. Backups are as secret as the database: mode 0600.
"""

import base64
import contextlib
import gzip
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Boolean, Connection, LargeBinary, Table, column, insert, select, table, text
from sqlalchemy.exc import SQLAlchemyError

from csms.db.bulk import count_on
from csms.db.group_commit import as_store_error
from csms.db.schema import metadata
from csms.db.sqlite import READS
from csms.db.store import HEAD, OLDEST, migrate, open_engine, revision_of
from csms.telemetry.tables import VALUES
from v2g import typed_json
from v2g.errors import CodecError, RefusedError, StoreError

_FORMAT: Final = "v2g-csms-backup-1"
_GZIP: Final = b"\x1f\x8b"
_CHUNK: Final = 500
_MAX_LINE: Final = 64 * 2**20


class BackupHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="header"):
    """First line: the format, and the revision of the schema."""

    format: str
    revision: str


class TableStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="table"):
    """Begins the rows of a table with these columns; `binary` names those in base64."""

    name: str
    columns: tuple[str, ...]
    binary: tuple[str, ...] = ()
    boolean: tuple[str, ...] = ()


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="rows"):
    """Rows of the preceding table."""

    rows: tuple[tuple[Any, ...], ...]


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="end"):
    """Last line: the number of rows, and the SHA-256 (hex) of every line before."""

    rows: int
    sha256: str


Line = BackupHeader | TableStart | Rows | End

_encode = msgspec.json.Encoder().encode


def backup(url: str, target: Path) -> int:
    """Write everything to the file `target`; return the number of rows. The back end may be running.

    Raises StoreError when the database cannot be read or the file not written, RefusedError when the database is of
    another program version, or `target` something else than an earlier backup.
    """
    _check_target(target)
    engine = open_engine(url)
    name = engine.url.database or ""
    if engine.dialect.name == "sqlite" and not Path(name).exists():
        raise StoreError(f"database {name} not found")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with engine.connect().execution_options(**{READS: True}) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
            found = revision_of(connection)
            if found != HEAD:
                raise RefusedError(
                    f"the database has revision {found}, not {HEAD}",
                    reason="revision",
                    hint="use the same program version",
                )
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
                    digest, rows = hashlib.sha256(), 0
                    for line in _lines(connection):
                        if isinstance(line, Rows):
                            rows += len(line.rows)
                        encoded = _encode(line) + b"\n"
                        digest.update(encoded)
                        packed.write(encoded)
                    packed.write(_encode(End(rows, digest.hexdigest())) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        partial.replace(target)
    except SQLAlchemyError as error:
        raise as_store_error(error) from error
    except OSError as error:
        raise StoreError(
            f"{target}: {error.strerror}", hint="choose a folder with room that this user may write"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
        engine.dispose()
    return rows


def _check_target(target: Path) -> None:
    """A name that was mistaken, as the database's own, must not cost that file."""
    if target.is_symlink() or not target.is_file():  # a link is replaced, not what it leads to
        return
    with contextlib.suppress(OSError), target.open("rb") as file:
        if file.read(2) != _GZIP:
            raise RefusedError(f"{target} exists and is not a backup", reason="exists", hint="choose another name")


def restore(url: str, source: Path) -> int:
    """Restore a backup into an empty database, created if needed; return the number of rows.

    Raises CodecError for an incomplete backup, RefusedError when the database is not empty or the backup of a later
    program version, StoreError.
    """
    engine = open_engine(url)
    try:
        with gzip.open(source) as file:
            header = _line(file.readline(_MAX_LINE), "not a backup")
            if not isinstance(header, BackupHeader) or header.format != _FORMAT:
                raise CodecError(f"{source}: not a backup of this program")
            if not OLDEST <= header.revision <= HEAD:
                raise RefusedError(
                    f"the backup has revision {header.revision}, not one from {OLDEST} to {HEAD}",
                    reason="revision",
                    hint="restore it by the program version that wrote it, or a later one",
                )
            file.seek(0)
            migrate(engine)
            with engine.begin() as connection:
                for each in metadata.sorted_tables:
                    if _has_rows(connection, each):
                        raise RefusedError(
                            f"the database is not empty: {each.name} has rows",
                            reason="not_empty",
                            hint="give the configuration another data_dir, or store_url",
                        )
                if header.revision < HEAD:  # rows of before may be twice where one is unique now
                    for index in (index for each in metadata.sorted_tables for index in each.indexes):
                        index.drop(connection)
                rows = _read(connection, file)
                older = text("UPDATE alembic_version SET version_num = :revision")
                connection.execute(older, {"revision": header.revision})
        migrate(engine)  # what rows of before lack, and the indices
    except SQLAlchemyError as error:
        raise as_store_error(error) from error
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, OverflowError) as error:
        raise CodecError(f"{source}: damaged: {error}", hint="is it complete, and from v2g csms backup?") from None
    except OSError as error:
        raise StoreError(f"{source}: {error.strerror}", hint="give a file made by v2g csms backup") from error
    finally:
        engine.dispose()
    return rows


def _lines(connection: Connection) -> Iterator[BackupHeader | TableStart | Rows]:
    yield BackupHeader(_FORMAT, HEAD)
    for each in metadata.sorted_tables:
        binary = tuple(str(c.name) for c in each.columns if isinstance(c.type, LargeBinary))
        boolean = tuple(str(c.name) for c in each.columns if isinstance(c.type, Boolean))
        yield TableStart(str(each.name), tuple(str(c.name) for c in each.columns), binary, boolean)
        places = [place for place, c in enumerate(each.columns) if c.name in binary]
        found = connection.execution_options(yield_per=_CHUNK).execute(select(each))
        for chunk in found.partitions():
            yield Rows(tuple(_to_text(tuple(row), places) for row in chunk))


def _to_text(row: tuple[Any, ...], binary: list[int]) -> tuple[Any, ...]:
    if not binary:
        return row
    return tuple(
        base64.b64encode(value).decode() if place in binary and value is not None else value
        for place, value in enumerate(row)
    )


def _line(text_: bytes, wrong: str = "the backup is damaged") -> Line:
    try:
        found: Line = typed_json.decode(text_, Line)
    except msgspec.DecodeError as error:
        raise CodecError(f"{wrong}: {error}") from None
    return found


def _read(connection: Connection, file: gzip.GzipFile) -> int:
    """Insert everything. Raises CodecError, which rolls back, when the end is missing or does not match."""
    digest, rows = hashlib.sha256(), 0
    current: TableStart | None = None
    while encoded := file.readline(_MAX_LINE):
        line = _line(encoded)
        match line:
            case End():
                if line.rows != rows or line.sha256 != digest.hexdigest():
                    raise CodecError("the backup is damaged: its checksum does not match")
                if connection.dialect.name == "postgresql":  # SQLite numbers new rows after the restored ones by itself
                    for each in metadata.sorted_tables:
                        count_on(connection, each)
                return rows
            case TableStart():
                if line.name not in metadata.tables:
                    raise CodecError(f"unknown table {line.name[:50]!r} in the backup")
                current = line
                if line.name == "telemetry":
                    for name in sorted({*VALUES.values()}.difference(line.columns)):  # a migration fills it
                        connection.exec_driver_sql(f"ALTER TABLE telemetry DROP COLUMN {name}")
            case Rows():
                if current is None:
                    raise CodecError("the backup is damaged: rows before a table")
                # insert rows by the backup's columns, which may be those of an older version
                binary = [place for place, name in enumerate(current.columns) if name in current.binary]
                boolean = [place for place, name in enumerate(current.columns) if name in current.boolean]
                values = []
                for row in line.rows:
                    content = list(row)
                    if len(content) != len(current.columns):
                        raise CodecError("the backup is damaged: a row does not match its table's columns")
                    for place in binary:
                        value = content[place]
                        content[place] = None if value is None else base64.b64decode(str(value), validate=True)
                    for place in boolean:
                        content[place] = bool(content[place]) if content[place] is not None else None
                    if connection.dialect.name == "postgresql":  # which has no U+0000
                        content = [each.replace("\0", "\ufffd") if isinstance(each, str) else each for each in content]
                    values.append(dict(zip(map(_name, current.columns), content, strict=True)))
                if current.name == "telemetry_aggregates" and "sealed" not in current.columns:  # of 0.2.0
                    values = [each | {"sealed": not each["document"].startswith(b"{")} for each in values]
                if values:
                    target = table(current.name, *map(column, values[0]))
                    connection.execute(insert(target), values)
                rows += len(line.rows)
        digest.update(encoded)
    raise CodecError("the backup is truncated")


def _name(column_: str) -> str:
    return "announced" if column_ == "told" else column_  # of alerts, up to 0045


def _has_rows(connection: Connection, each: Table) -> bool:
    first = next(iter(each.primary_key.columns))
    return connection.execute(select(first).limit(1)).first() is not None
