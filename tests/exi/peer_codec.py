"""What several tests of peer codec use."""

import re


def one_line(xml: str) -> str:
    """Return our XML without the indentation, which is between elements only."""
    return re.sub(r"\n *(?=<)", "", xml)
