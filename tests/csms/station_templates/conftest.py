"""A back end in memory with its console."""

from tests.csms.console.conftest import ask, cheap_passwords
from tests.csms.fixtures import backend, csms

__all__ = ["ask", "backend", "cheap_passwords", "csms"]
