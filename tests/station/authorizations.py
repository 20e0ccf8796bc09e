"""Answers to Authorize."""

from typing import Any


def says(status: str = "Accepted", **more: Any) -> dict[str, Any]:
    """What the CSMS says to an identifier."""
    return {"idTokenInfo": {"status": status, **more}}
