"""Extras of the distribution: their packages, and the error for a missing one."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Final

from v2g.errors import ConfigError

EXTRAS: Final[Mapping[str, str]] = {
    "alembic": "csms",
    "asn1tools": "verify",
    "can": "gateway",
    "cantools": "gateway",
    "confluent_kafka": "kafka",
    "gpiod": "gpio",
    "jsonschema": "testkit",
    "litestar": "csms",
    "msgpack": "gateway",
    "numpy": "planning",
    "ocpp": "testkit",
    "psycopg": "postgres",
    "pyarrow": "parquet",
    "redis": "postgres",
    "scipy": "planning",
    "securesystemslib": "ota",
    "sqlalchemy": "csms",
    "tuf": "ota",
    "uvicorn": "csms",
}
"""Import package -> its extra. A charger, a vehicle and the tools need none of them."""


@contextlib.contextmanager
def extras_named() -> Iterator[None]:
    """Raise ConfigError, with the extra to install, if the block imports a package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise ConfigError(
            f"this needs the package {package}, which is not installed",
            hint=f"pip install 'v2g-engine[{EXTRAS[package]}]'",
        ) from None
