"""Makes the locks of packages and containers: `make lock`, or `python -m deploy.lock`.

A lock names each package that is installed with its version and the hashes of its files, for all platforms. `release`
is for the tools that make a release.
"""

import subprocess
import sys
from pathlib import Path

from deploy.debian import EXTRAS, LOCKS, ROOT


def main() -> None:
    """Write all locks, with the newest versions that pyproject.toml permits."""
    uv = Path(sys.executable).with_name("uv")
    for name, extras in {**EXTRAS, "release": "release"}.items():
        chosen = [word for extra in extras.split(",") for word in ("--extra", extra)]
        options = ["--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate", "--upgrade"]
        command = [str(uv), "pip", "compile", *options, *chosen, "-o", str(LOCKS / f"{name}.txt"), "pyproject.toml"]
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
