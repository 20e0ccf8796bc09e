"""A back end in memory for the tester of back ends."""

from tests.csms.fixtures import backend, memory_dir

__all__ = ["backend", "memory_dir"]
