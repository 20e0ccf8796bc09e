"""Each store in a folder of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.io.keys import stores
from tests.io.keys.stores import Files, SoftHsm, Store, Tpm


@pytest.fixture
def hsm(tmp_path: Path) -> Iterator[SoftHsm]:
    with stores.softhsm(tmp_path) as made:
        yield made


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[Tpm]:
    with stores.swtpm(tmp_path) as made:
        yield made


@pytest.fixture(params=["file", "pkcs11", "tpm"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Every store, one after the other."""
    match request.param:
        case "file":
            return Files(tmp_path)
        case "pkcs11":
            found: Store = request.getfixturevalue("hsm")
        case _:
            found = request.getfixturevalue("tpm")
    return found
