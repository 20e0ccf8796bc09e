"""Redaction of OCPP frames: passwords and keys are removed (A00, and logs on terminals)."""

import re
from typing import Any, Final

import msgspec

from v2g.ocpp.messages.data_transfer import VENDOR

HIDDEN: Final = "***"

_SECRETS: Final = ("password", "secret", "identitykey", "identity key", "privatekey", "authorizationkey", "vpn", "apn")
_SECRET_KEY: Final = re.compile(r"password|secret|^key\Z", re.IGNORECASE)
_SECRET_NAME: Final = re.compile(r"password|secret|^(?:authorization)?key\Z", re.IGNORECASE)


_TOKEN: Final = re.compile(r"id_?(?:token|tag)|^emaid\Z", re.IGNORECASE)

_MENTIONED: Final = ("token", "idtag", "emaid", '"data"')
"""In lower case: searching for these, and for `_SECRETS`, is forty times as fast as for a pattern, which counts in long
answers."""

_USER: Final = re.compile(r'(://[^/@:\s"]+):[^/@\s"]+@')
"""A user and password in an address (N01.FR.17)."""


def presentable(frame: str) -> str:
    """Return a redacted frame. One that is not JSON is shown by its length only, if it may hold a secret."""
    if "@" in frame:
        frame = _USER.sub(rf"\1:{HIDDEN}@", frame)
    folded = frame.casefold()
    if not any(each in folded for each in _SECRETS):
        return frame
    try:
        return msgspec.json.encode(_hide(msgspec.json.decode(frame))).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return f"({len(frame)} characters, not JSON)"


def without_tokens(frame: str) -> str:
    """Return a frame also without token numbers, with which a card can be copied, and without what other vendors
    transfer, which may hold some under any name."""
    lower = frame.lower()
    if not any(each in lower for each in _MENTIONED):
        return frame
    try:
        return msgspec.json.encode(_without_transfer(hide_tokens(msgspec.json.decode(frame)))).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return f"({len(frame)} characters, not JSON)"


def _without_transfer(frame: Any) -> object:
    """Return a frame without the data of a DataTransfer of another vendor; an answer does not name its own."""
    match frame:
        case [2, _, "DataTransfer", {"data": _} as payload] if payload.get("vendorId") != VENDOR:
            return [*frame[:3], {**payload, "data": HIDDEN}]
        case [3, _, {"data": _} as payload]:
            return [*frame[:2], {**payload, "data": HIDDEN}]
    return frame


def hide_tokens(value: object) -> object:
    """Return a JSON value without the values of tokens, at any depth."""
    if isinstance(value, list):
        return [hide_tokens(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: HIDDEN if isinstance(each, str) and _TOKEN.search(key) else hide_tokens(each)
        for key, each in value.items()
    }


def _hide(value: object) -> object:
    if isinstance(value, list):
        return [_hide(each) for each in value]
    if not isinstance(value, dict):
        return value
    variable = value.get("variable")
    of_16 = "value" in value and isinstance(value.get("key"), str)  # ChangeConfiguration, and its answers
    named = value["key"] if of_16 else variable.get("name") if isinstance(variable, dict) else None
    secret = isinstance(named, str) and _SECRET_NAME.search(named) is not None  # SetVariables, NotifyReport and others
    return {
        key: HIDDEN
        if (_SECRET_KEY.search(key) and not of_16) or (secret and "value" in key.lower())
        else _hide_in(each, secret=secret)
        for key, each in value.items()
    }


def _hide_in(value: object, *, secret: bool) -> object:
    if secret and isinstance(value, list):  # variableAttribute of NotifyReport
        return [
            {k: HIDDEN if k == "value" else v for k, v in each.items()} if isinstance(each, dict) else each
            for each in value
        ]
    return _hide(value)
