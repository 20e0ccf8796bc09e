"""A complete PKI for tests, created once per session.

In a conftest.py: `from pki_tools.pytest_plugin import pki` and ask for `pki`.
"""

from datetime import UTC, datetime
from typing import Final

import pytest

from pki_tools.tree import PkiTree, make_pki

_STARTED: Final = datetime.now(UTC)
"""Before any test module takes the time: a long run may want its first tree much later."""


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    """Return a tree of certificates that are valid since the tests were loaded."""
    return make_pki(tmp_path_factory.mktemp("pki"), now=_STARTED)
