"""A back end in memory for the tester of back ends."""

from tests.certification.conftest import backend, memory_dir

__all__ = ["backend", "memory_dir"]
