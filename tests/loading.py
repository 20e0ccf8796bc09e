"""What a program has loaded once it is imported, in a process of its own."""

import subprocess
import sys
from collections.abc import Sequence


def loaded(programs: str, names: Sequence[str]) -> list[str]:
    """Return which of `names` (modules) are there after `import programs`."""
    code = f"import sys, {programs}; print(*(name for name in {tuple(names)!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()
