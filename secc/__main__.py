"""`python -m secc --config FILE [--events FILE]`: run a charger."""

import gc
import sys

from v2g.io.runtime.starting import end_at_once

end_at_once(0)
gc.disable()  # until everything is loaded: see v2g.io.runtime.program.keep_responsive

from secc.app import main  # noqa: E402
from v2g.io.runtime.program import arguments  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(*arguments("secc", "Run a charger: ISO 15118-20 SECC and OCPP charging station.")))
