"""A complete PKI for tests, created once per session.

In a conftest.py: `from pki_tools.pytest_plugin import pki` and ask for `pki`.
"""

from datetime import UTC, datetime

import pytest

from pki_tools.tree import PkiTree, make_pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> PkiTree:
    """Return a tree of valid certificates, valid now."""
    return make_pki(tmp_path_factory.mktemp("pki"), now=datetime.now(UTC))
