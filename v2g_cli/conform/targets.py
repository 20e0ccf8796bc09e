"""Devices that are tested at once: where each is, and where its reports go."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from v2g.errors import ConfigError

_TARGET: Final = re.compile(r"([A-Za-z0-9][\w.-]*)=([^\s:=]+)(?::(\d{1,5}))?")
_FORM: Final = "NAME=INTERFACE or NAME=INTERFACE:PORT, names of letters, digits, . - _"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A device under test. `name` is empty if it is the only one."""

    name: str = ""
    interface: str
    sdp_port: int

    def named(self, command: str) -> str:
        """Return a command with the device's name in the place of {target}."""
        return command.replace("{target}", self.name)


def targets_of(texts: Sequence[str], only: Target) -> tuple[Target, ...]:
    """Return the devices of `--target`, or the `only` one without that option; its port is the default.

    Raises ConfigError.
    """
    found = tuple(_target(each, only.sdp_port) for text in texts for each in _lines(text))
    if len({each.name for each in found}) < len(found):
        raise ConfigError("--target: a name is used twice", hint="a name of its own for each device")
    if len({(each.interface, each.sdp_port) for each in found}) < len(found):
        raise ConfigError("--target: two devices at one port of an interface", hint="NAME=INTERFACE:PORT")
    if texts and not found:
        raise ConfigError(f"--target {texts[0]}: no device", hint=_FORM)
    return found or (only,)


def _lines(text: str) -> Iterator[str]:
    """Yield an option's value, or the lines of the file that it names, without comments."""
    if not text.startswith("@"):
        yield text
        return
    try:
        lines = Path(text[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--target {text}: {error}", hint="a file with one device in each line") from None
    for line in lines:
        if written := line.partition("#")[0].strip():
            yield written


def _target(text: str, sdp_port: int) -> Target:
    match = _TARGET.fullmatch(text)
    port = int(match[3]) if match is not None and match[3] else sdp_port
    if match is None or not 0 < port < 65536:
        raise ConfigError(f"--target {text}: not a device", hint=_FORM)
    return Target(name=match[1], interface=match[2], sdp_port=port)
