"""Payloads for display: short, and without passwords."""

from typing import Final

import msgspec

from csms.cluster.frames import presentable

_WIDTH: Final = 160


def short(payload: object) -> str:
    """Return a payload on one line, truncated, without secrets."""
    text = presentable(msgspec.json.encode(payload).decode())
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
