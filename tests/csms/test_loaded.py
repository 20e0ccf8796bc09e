"""A back end that starts pays for what it needs, not for what only some configurations or later moments need."""

from tests.loading import loaded

LATER = (
    "litestar",  # beside the running back end, or when somebody asks
    "uvicorn",
    "paho",  # with [mqtt]
    "redis",  # with bus_url
    "confluent_kafka",  # with such a sink
    "pyarrow",  # for an export
    "csms.db.migrations",  # for a database that is old
    "psycopg",  # with PostgreSQL
    "sqlalchemy.dialects.postgresql",
    "v2g.exi",  # with [provisioning]: messages of ISO 15118
    "v2g.iso15118.d20.messages",
    "lxml",
    "rich",
    "typer",
)


def test_a_back_end_loads_what_it_does_not_need_at_its_start_later_or_never() -> None:
    assert loaded("csms.app", LATER) == []


def test_neither_does_its_console() -> None:
    assert loaded("csms.app, csms.console.application", ("v2g.exi", "v2g.iso15118.d20.messages", "lxml", "rich")) == []
