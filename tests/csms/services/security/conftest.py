"""Back ends in memory."""

from tests.csms.fixtures import backend, csms

__all__ = ["backend", "csms"]
