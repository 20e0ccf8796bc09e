"""The role that the documentation gives the program suffices for all of its work, and for nothing else.

Every test on PostgreSQL has it; these are about the role itself.
"""

from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from csms.db.store import HEAD, Store, as_user
from pki_tools.tree import PkiTree
from tests.csms.conftest import Start
from tests.csms.databases import OWNER, PROGRAM, ROLES_PAGE, Cluster, Databases, running_cluster
from tests.csms.own_station import whole_session
from tests.csms.program import write_config
from tests.csms.support import make_config
from tests.docs.documents import blocks
from v2g.errors import ConfigError, StoreError
from v2g_cli.main import app


async def test_a_whole_session_is_stored(start: Start, postgresql_databases: Databases, tmp_path: Path) -> None:
    url = postgresql_databases.create()
    assert url.startswith(f"postgresql://{PROGRAM}@")
    async with start(store_url=url) as csms:
        await whole_session(csms, tmp_path, ("2.1",))
    with psycopg.connect(url) as connection:
        for table in ("transactions", "transaction_events", "journal_lines", "settlements"):
            (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)  # type: ignore[arg-type]
            assert count, table


@pytest.mark.parametrize(
    "forbidden",
    [
        "CREATE TABLE more (id int)",
        "CREATE TEMPORARY TABLE more (id int)",
        "CREATE SCHEMA more",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP TABLE transactions",
        "ALTER TABLE transactions ADD COLUMN more int",
        "TRUNCATE transaction_events",
        "CREATE INDEX more ON transactions (active)",
        "UPDATE alembic_version SET version_num = '9999'",
        "SELECT setval('transaction_events_id_seq', 1)",
        "CREATE ROLE more",
        "CREATE DATABASE more",
    ],
)
def test_the_program_may_do_nothing_else(postgresql_databases: Databases, cluster: Cluster, forbidden: str) -> None:
    assert postgresql_databases is not None
    url = cluster.url(PROGRAM, PROGRAM)
    with (
        psycopg.connect(url, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(forbidden)  # type: ignore[arg-type]


@pytest.mark.long
def test_the_owner_makes_the_tables_by_the_command_and_until_then_the_program_says_what_is_missing(
    tmp_path: Path, pki: PkiTree
) -> None:
    roles, schema, version = blocks(ROLES_PAGE.read_text(), "sql")
    with running_cluster() as cluster:
        cluster.sql("postgres", roles)
        cluster.sql(PROGRAM, schema)
        url = cluster.url(PROGRAM, PROGRAM)
        with pytest.raises(StoreError, match="permission denied") as refused:
            Store(url)
        assert "CREATE TABLE" not in str(refused.value)
        assert "v2g csms migrate --user" in refused.value.hint
        config = write_config(tmp_path / "csms.yaml", make_config(tmp_path, pki, store_url=url))
        done = CliRunner().invoke(app, ["csms", "migrate", "--config", str(config), "--user", OWNER])
        assert (done.exit_code, done.output) == (0, f"{HEAD}: the tables are up to date\n")
        cluster.sql(PROGRAM, version)
        Store(url).close()


@pytest.mark.long
def test_a_database_of_the_programs_own_role_goes_over_to_an_owner(tmp_path: Path) -> None:
    """The statements that the page names for it, which are not run in a new database."""
    (handed_over,) = [
        part.partition("```sql\n")[2].partition("```")[0]
        for part in ROLES_PAGE.read_text().split("<!-- not run: only where")[1:]
    ]
    roles, schema, _ = blocks(ROLES_PAGE.read_text(), "sql")
    with running_cluster() as cluster:
        cluster.sql("postgres", roles.replace("OWNER csms_owner", "OWNER csms"))
        Store(cluster.url(PROGRAM, PROGRAM)).close()
        cluster.sql(PROGRAM, schema)
        cluster.sql(PROGRAM, handed_over)
        Store(cluster.url(PROGRAM, PROGRAM)).close()
        with (
            psycopg.connect(cluster.url(PROGRAM, PROGRAM)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("DROP TABLE transactions")


@pytest.mark.parametrize(
    ("url", "changed"),
    [
        ("postgresql://csms@db.example/csms?sslmode=verify-full", "postgresql://o@db.example/csms?sslmode=verify-full"),
        ("postgresql://csms:secret@db.example/csms", "postgresql://o@db.example/csms"),
        ("postgresql:///csms", "postgresql://o@/csms"),
    ],
)
def test_another_role_takes_the_place_of_the_one_in_the_url_and_of_its_password(url: str, changed: str) -> None:
    assert as_user(url, "o") == changed
    assert as_user(url, "") == url


def test_a_database_in_a_file_has_no_roles() -> None:
    with pytest.raises(ConfigError, match="no roles"):
        as_user("sqlite:////var/lib/csms.sqlite3", "csms_owner")
