"""Vectors and the official schemas."""

from pathlib import Path

import pytest

from tests.exi import official


@pytest.fixture(scope="session")
def schema_folder() -> Path:
    """Folder with the official schema files; without a package index there is nothing to compare with."""
    try:
        return official.schema_folder()
    except official.Unreachable as error:
        pytest.skip(str(error))
