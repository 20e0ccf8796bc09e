"""What several tests of pcapng use."""

import subprocess
from pathlib import Path

from tests.packages import need


def tshark(path: Path, *arguments: str) -> list[str]:
    """Return what tshark prints; it must have nothing to complain about."""
    need("tshark", program="tshark")
    done = subprocess.run(["tshark", "-n", "-r", str(path), *arguments], capture_output=True, text=True, timeout=60)
    complaints = [line for line in done.stderr.splitlines() if "This could be dangerous" not in line]
    assert (done.returncode, complaints) == (0, [])
    return done.stdout.splitlines()
