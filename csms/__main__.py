"""`python -m csms --config FILE [--events FILE]`: run a back end."""

import gc
import sys

gc.disable()  # until everything is loaded: see v2g.net.program.keep_responsive

from csms.app import main  # noqa: E402
from v2g.net.program import arguments  # noqa: E402

if __name__ == "__main__":
    sys.exit(
        main(*arguments("csms", "Run a back end: OCPP central system, grid signals, settlement, telemetry ingest."))
    )
