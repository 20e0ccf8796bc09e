"""What several tests of meter use."""

import errno
import os


def full(*_: object) -> int:
    """Write to a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
