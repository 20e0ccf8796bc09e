"""`python -m csms --config FILE [--events FILE]`."""

import sys
from collections.abc import Sequence

from csms.app import serve
from csms.config import load_config
from v2g.errors import V2GError
from v2g.net.program import arguments, report, run, start_log


def main(argv: Sequence[str] | None = None) -> int:
    """Run a back end; return its exit code."""
    config_path, events = arguments("csms", __doc__ or "", argv)
    start_log("info")
    try:
        config = load_config(config_path)
    except V2GError as error:
        report(error)
        return error.exit_code
    start_log(config.log_level)
    return run(serve(config, events))


if __name__ == "__main__":
    sys.exit(main())
