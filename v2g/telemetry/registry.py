"""The schema registry: a folder with a JSON Schema for each version of telemetry records (R112)."""

from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from v2g import typed_json
from v2g.errors import ConfigError
from v2g.telemetry.signals import SCHEMAS, json_schema

MAX_BYTES: Final = 1_000_000
MAX_FILES: Final = 1000


class _File(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="$id")


def shipped() -> Path:
    """Return the folder in this package."""
    return Path(str(resources.files("v2g.telemetry") / "schemas"))


def file_name(schema: str) -> str:
    """Return the name of a version's file."""
    return schema.replace("/", "-") + ".json"


def files() -> dict[str, str]:
    """Return the files of all known versions, by name."""
    return {
        file_name(schema): msgspec.json.format(msgspec.json.encode(json_schema(schema)), indent=1).decode() + "\n"
        for schema in SCHEMAS
    }


def registered(folder: Path) -> frozenset[str]:
    """Return the versions in a folder: the `$id` of each file. Raises ConfigError."""
    try:
        paths = sorted(folder.glob("*.json"))[:MAX_FILES]
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder", hint="it holds the JSON Schemas of telemetry records")
        found = []
        for path in paths:
            with path.open("rb") as file:
                found.append(typed_json.decode(file.read(MAX_BYTES), _File).id)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: not a JSON Schema with $id: {error}") from None
    return frozenset(found)
