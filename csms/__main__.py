"""`python -m csms --config FILE [--events FILE]`: run a back end."""

import sys

from csms.app import main
from v2g.net.program import arguments

if __name__ == "__main__":
    sys.exit(
        main(*arguments("csms", "Run a back end: OCPP central system, grid signals, settlement, telemetry ingest."))
    )
