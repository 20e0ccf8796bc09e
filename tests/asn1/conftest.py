"""The published module, compiled by an ASN.1 compiler that this project did not write."""

from typing import Any

import asn1tools
import pytest

from v2g.asn1.published import TEXT


@pytest.fixture(scope="session")
def module() -> Any:
    """The module as asn1tools compiles it for DER."""
    return asn1tools.compile_string(TEXT, "der")


@pytest.fixture(scope="session")
def parsed() -> dict[str, Any]:
    """The module as asn1tools parses it."""
    return dict(asn1tools.parse_string(TEXT)["V2GDischarge"]["types"])
