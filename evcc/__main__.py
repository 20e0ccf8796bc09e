"""`python -m evcc --config FILE [--events FILE]`: run one session as a vehicle."""

import sys

from evcc.app import main
from v2g.net.program import arguments

if __name__ == "__main__":
    sys.exit(main(*arguments("evcc", "Run one ISO 15118-20 session as a vehicle, then exit.")))
