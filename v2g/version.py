"""The release, as pyproject.toml has it: importlib.metadata would read it from a file, by a parser of e-mail."""

from typing import Final

VERSION: Final = "0.2.0"
