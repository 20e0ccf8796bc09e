"""Documents as a later program would keep them."""

from typing import Any

import msgspec


def later(document: bytes) -> bytes:
    """Return a JSON document with a field more in each of its objects."""
    return msgspec.json.encode(_later(msgspec.json.decode(document)))


def _later(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_later(each) for each in plain]
    if isinstance(plain, dict):
        return {key: _later(value) for key, value in plain.items()} | {"later": {"than": [1]}}
    return plain
