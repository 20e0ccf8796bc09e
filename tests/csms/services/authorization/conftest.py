"""Back ends in memory."""

from tests.csms.fixtures import backend, csms, memory_dir

__all__ = ["backend", "csms", "memory_dir"]
