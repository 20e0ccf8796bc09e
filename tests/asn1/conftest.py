"""The published module, compiled by an ASN.1 compiler that this project did not write."""

from pathlib import Path
from typing import Any

import asn1tools
import pytest

import v2g.asn1

MODULE = Path(v2g.asn1.__file__).parent / "V2GDischarge.asn"


@pytest.fixture(scope="session")
def module() -> Any:
    """The module as asn1tools compiles it for DER."""
    return asn1tools.compile_files([str(MODULE)], "der")


@pytest.fixture(scope="session")
def parsed() -> dict[str, Any]:
    """The module as asn1tools parses it."""
    return dict(asn1tools.parse_files([str(MODULE)])["V2GDischarge"]["types"])
