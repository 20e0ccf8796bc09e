"""`python -m secc --config FILE [--events FILE]`: run a charger."""

import sys

from secc.app import main
from v2g.net.program import arguments

if __name__ == "__main__":
    sys.exit(main(*arguments("secc", "Run a charger: ISO 15118-20 SECC and OCPP charging station.")))
