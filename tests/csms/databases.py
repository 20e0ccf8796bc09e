"""Both kinds of database, for tests that hold on each: an empty one, migrated, for every test."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from csms.db.store import Store
from tests.docs.documents import ROOT, blocks

SUPERUSER = "postgres"
OWNER, PROGRAM = "csms_owner", "csms"
"""Roles of the documentation; its database is called as the program is."""

ROLES_PAGE = ROOT / "docs" / "how-to" / "restrict-the-database-role.md"


def find_postgres(name: str) -> str:
    """Return a program of PostgreSQL; skips the test when it is not installed."""
    found = shutil.which(name) or next(
        (str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None
    )
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package postgresql)")
    return found


class Cluster:
    """A PostgreSQL server of one's own, reached by a socket in its folder alone. `fsync` as in production, or off."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self.folder = folder
        self._fsync = fsync
        self._number = 0
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            runuser = shutil.which("runuser")
            if runuser is None or subprocess.run(["id", SUPERUSER], capture_output=True).returncode != 0:
                pytest.skip(f"PostgreSQL does not run as root, and there is no user {SUPERUSER} or no runuser")
            self._as_user = [runuser, "-u", SUPERUSER, "--"]
            shutil.chown(folder, SUPERUSER)
        self._run("initdb", "--no-sync", "--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "data")
        self.start()

    def start(self) -> None:
        """Start the server."""
        fsync = "on" if self._fsync else "off"
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync={fsync}"
        self._run("pg_ctl", "start", "--wait", "--pgdata", "data", "--log", "log", "--options", options)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` is as after a power cut."""
        self._run("pg_ctl", "stop", "--wait", "--pgdata", "data", "--mode", mode)

    def url(self, database: str, role: str = SUPERUSER) -> str:
        """Return the URL of a database."""
        return f"postgresql://{role}@/{database}?host={self.folder}"

    def sql(self, database: str, text: str) -> None:
        """Do what stands in the documentation, as the superuser types it."""
        self._run("psql", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", self.url(database), text=text)

    def create(self, template: str = "template1") -> str:
        """Make a database; return its name."""
        self._number += 1
        name = f"test_{self._number}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            copied = "STRATEGY FILE_COPY" if connection.info.server_version >= 150_000 else ""  # a quarter of the CPU
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {copied}')  # type: ignore[arg-type]
        return name

    def _run(self, program: str, *arguments: str, text: str = "") -> None:
        command = [*self._as_user, find_postgres(program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, input=text.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert done.returncode == 0, done.stderr.decode()


@contextlib.contextmanager
def running_cluster(*, fsync: bool = False) -> Iterator[Cluster]:
    """Run a server. Its folder is none of pytest's, which only their owner may enter."""
    memory = Path("/dev/shm")  # no disk is waited for, unless that is what a test is about
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**29
    place = "/var/tmp" if fsync else memory if roomy else None
    with tempfile.TemporaryDirectory(prefix="v2g-postgresql-", dir=place) as folder:
        cluster = Cluster(Path(folder), fsync=fsync)
        try:
            yield cluster
        finally:
            cluster.stop()


def prepare_roles(cluster: Cluster) -> None:
    """Make the database `csms` with the roles that the documentation gives it."""
    roles, schema, version = blocks(ROLES_PAGE.read_text(), "sql")
    cluster.sql("postgres", roles)
    cluster.sql(PROGRAM, schema)
    Store(cluster.url(PROGRAM, OWNER)).close()
    cluster.sql(PROGRAM, version)


class Databases:
    """Migrated databases of one kind, each made as a copy of the first: of SQLite's that is `empty`.

    With PostgreSQL programs have the role that the documentation gives them, which may work with rows and no more.
    """

    def __init__(self, folder: Path, cluster: Cluster | None, empty: Path = Path()) -> None:
        self._folder = folder
        self._cluster = cluster
        self._empty = empty
        if cluster is not None:
            prepare_roles(cluster)
        self._number = 0

    def create(self, *, owner: bool = False) -> str:
        """Return the URL of a database that no other test has; as its owner, who may change tables, too."""
        if self._cluster is not None:
            return self._cluster.url(self._cluster.create(PROGRAM), OWNER if owner else PROGRAM)
        self._number += 1
        path = self._folder / f"{self._number}.sqlite3"
        shutil.copy(self._empty, path)
        return f"sqlite:///{path}"
