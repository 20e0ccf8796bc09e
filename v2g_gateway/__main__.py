"""`python -m v2g_gateway --config FILE [--events FILE]`: run the telemetry gateway."""

import gc
import sys

from v2g.io.runtime.starting import end_at_once

end_at_once(0)
gc.disable()  # until everything is loaded: see v2g.io.runtime.program.keep_responsive

from v2g.io.runtime.program import arguments  # noqa: E402
from v2g_gateway.app import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(*arguments("v2g_gateway", "Send telemetry of CAN buses and local events to the back end.")))
