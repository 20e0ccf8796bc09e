"""`v2g diag`, also as `v2g-diag`: powerline, CAN, TCP, TLS, logs and what the machine needs.

Commands and their options: `command.py`; what each does: the module of its name. A report of a fault:
`support_bundle.py`.
"""

import re
import sys
from collections.abc import Sequence

_CAN_NAME = re.compile(r"\w*can\d+")


def spelled(words: Sequence[str]) -> list[str]:
    """Return arguments of `v2g-diag` with `can` before an interface or --inspect-payload, also with an en dash."""
    found = [re.sub(r"^[\u2012-\u2015](?=inspect-payload\Z)", "--", each) for each in words]
    if found and (found[0] == "--inspect-payload" or _CAN_NAME.fullmatch(found[0])):
        found.insert(0, "can")
    return found


def main() -> None:
    """Entry point of `v2g-diag`."""
    from v2g_cli.diag.command import app
    from v2g_cli.main import guarded

    sys.argv[1:] = spelled(sys.argv[1:])
    guarded(app)
