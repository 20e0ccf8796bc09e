"""The charger on a slow disk, run by `benchmarks.crowd`: `python -m benchmarks.load.slow_disk SECONDS ...`.

Each fsync takes so much longer, in whichever thread it is called. Everything else is the program as it is.
"""

import gc
import os
import sys
import time
from collections.abc import Callable

gc.disable()  # as in `secc.__main__`

from secc.app import main  # noqa: E402
from v2g.io.runtime.program import arguments  # noqa: E402


def _slow(sync: Callable[[int], None], seconds: float) -> Callable[[int], None]:
    def slow(file: int) -> None:
        time.sleep(seconds)
        sync(file)

    return slow


if __name__ == "__main__":
    longer_s = float(sys.argv.pop(1))
    os.fsync, os.fdatasync = (_slow(each, longer_s) for each in (os.fsync, os.fdatasync))  # type: ignore[assignment]
    sys.exit(main(*arguments("secc", "Run a charger on a slow disk.")))
