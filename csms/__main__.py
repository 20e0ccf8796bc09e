"""`python -m csms --config FILE [--events FILE]`: run a back end."""

import gc
import sys

from v2g.io.runtime.starting import end_at_once

end_at_once(0)
gc.disable()  # until everything is loaded: see v2g.io.runtime.program.keep_responsive

from v2g.errors import ConfigError  # noqa: E402
from v2g.extras import extras_named  # noqa: E402
from v2g.io.runtime.program import arguments  # noqa: E402

if __name__ == "__main__":
    try:
        with extras_named():
            from csms.app import main
    except ConfigError as error:
        sys.stderr.write(f"csms: {error}\n      {error.hint}\n")
        sys.exit(error.exit_code)
    sys.exit(
        main(*arguments("csms", "Run a back end: OCPP central system, grid signals, settlement, telemetry ingest."))
    )
