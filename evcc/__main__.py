"""`python -m evcc --config FILE [--events FILE]`: run one session as a vehicle."""

import gc
import sys

from v2g.io.runtime.starting import end_at_once

end_at_once(130)
gc.disable()  # until everything is loaded: see v2g.io.runtime.program.keep_responsive

from evcc.app import main  # noqa: E402
from v2g.io.runtime.program import arguments  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(*arguments("evcc", "Run one ISO 15118-20 session as a vehicle, then exit.")))
