"""A back end in memory."""

from tests.csms.fixtures import backend, csms

__all__ = ["backend", "csms"]
