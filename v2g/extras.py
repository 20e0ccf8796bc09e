"""Extras of the distribution: their packages, those of Debian that have them, and the error for a missing one."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from v2g.errors import ConfigError

EXTRAS: Final[Mapping[str, str]] = {
    "aiohttp": "pki",
    "argon2": "csms",
    "asn1tools": "verify",
    "async_timeout": "postgres",
    "can": "gateway",
    "cantools": "gateway",
    "confluent_kafka": "kafka",
    "detools": "patches",
    "ecdsa": "verify",
    "google": "tesla",
    "gpiod": "gpio",
    "isotp": "gateway",
    "jinja2": "csms",
    "joserfc": "accounts",
    "jsonschema_rs": "testkit",
    "litestar": "csms",
    "msgpack": "gateway",
    "numpy": "planning",
    "ocpp": "testkit",
    "psycopg": "postgres",
    "pyarrow": "parquet",
    "pyotp": "csms",
    "redis": "postgres",
    "scipy": "planning",
    "securesystemslib": "ota",
    "segno": "csms",
    "sklearn": "analytics",
    "sqlalchemy": "csms",
    "tuf": "ota",
    "uvicorn": "csms",
    "webauthn": "accounts",
    "zeroconf": "eebus",
}
"""Import package -> its extra. A charger, a vehicle and the tools need none of them."""

HOME: Final = Path("/usr/lib/v2g-engine")
"""The environment of Debian's packages (`deploy.debian`)."""

DRIVERS: Final = HOME / "drivers"
"""Drivers of a charger's maker: `v2g hardware install`."""

PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "v2g-engine": ("eebus", "gateway", "gpio", "ota"),
    "v2g-engine-full": ("eebus", "gateway", "gpio", "ota", "csms", "accounts", "pki", "planning", "postgres"),
}
"""Debian's packages, the smallest first, and the extras that they have."""


def to_install(extra: str, *, prefix: str = sys.prefix) -> str:
    """Return how to get an extra here, where Python's prefix is this: by a package of Debian, or by pip."""
    if Path(prefix) != HOME:
        return f"pip install 'v2g-engine[{extra}]'"
    package = next((name for name, extras in PACKAGES.items() if extra in extras), None)
    if package is None:
        return f"Debian's packages are without the extra {extra}: install the wheel, see README"
    return f"apt install ./{package}_VERSION_ARCHITECTURE.deb"


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
            f"this needs the package {package}, which is not installed", hint=to_install(EXTRAS[package])
        ) from None
