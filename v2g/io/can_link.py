"""Bit rate and state of a CAN interface, as the kernel reports them over netlink: read by `ip` of iproute2 (R61)."""

import subprocess
from collections.abc import Callable
from typing import Final

import msgspec

from v2g import typed_json
from v2g.errors import TransportError

STATES: Final = {
    "ERROR-ACTIVE": "",
    "ERROR-WARNING": "more than 95 errors",
    "ERROR-PASSIVE": "more than 127 errors",
    "BUS-OFF": "more than 255 errors while sending; the controller has left the bus",
    "STOPPED": "the interface is down",
    "SLEEPING": "the controller sleeps",
}
"""States of the controller, and what they mean."""


class CanLink(msgspec.Struct, frozen=True, kw_only=True):
    """An interface. Speeds are in bit/s; None where the kernel has none, as for a virtual interface."""

    name: str
    kind: str
    up: bool
    state: str = ""
    bitrate: int | None = None
    data_bitrate: int | None = None
    sent_errors: int | None = None
    received_errors: int | None = None
    bus_offs: int | None = None
    restart_ms: int | None = None
    dropped: int | None = None


class _Timing(msgspec.Struct, frozen=True):
    bitrate: int | None = None


class _Counters(msgspec.Struct, frozen=True):
    tx: int | None = None
    rx: int | None = None


class _Data(msgspec.Struct, frozen=True):
    state: str = ""
    bittiming: _Timing = _Timing()
    data_bittiming: _Timing = _Timing()
    berr_counter: _Counters = _Counters()
    restart_ms: int | None = None


class _Statistics(msgspec.Struct, frozen=True):
    bus_off: int | None = None


class _LinkInfo(msgspec.Struct, frozen=True):
    info_kind: str = ""
    info_data: _Data = _Data()
    info_xstats: _Statistics = _Statistics()


class _Received(msgspec.Struct, frozen=True):
    dropped: int | None = None


class _Packets(msgspec.Struct, frozen=True):
    rx: _Received = _Received()


class _Link(msgspec.Struct, frozen=True):
    ifname: str
    link_type: str = ""
    flags: tuple[str, ...] = ()
    linkinfo: _LinkInfo = _LinkInfo()
    stats64: _Packets = _Packets()


def _ip(channel: str) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - an argument, not a shell
            ["ip", "-details", "-statistics", "-json", "link", "show", "dev", channel],  # noqa: S607
            capture_output=True,
            timeout=5,
            check=False,
        )
    except FileNotFoundError:
        raise TransportError("`ip` is not installed", hint="apt install iproute2") from None
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise TransportError(f"ip link show {channel}: {error}") from None
    if done.returncode:
        raise TransportError(
            f"{channel}: {done.stderr.decode(errors='replace').strip()}", hint="`ip link` lists the interfaces"
        )
    return done.stdout


def read_link(channel: str, *, ip: Callable[[str], bytes] = _ip) -> CanLink:
    """Return an interface's present state; `ip` returns the JSON of `ip -details -statistics link show dev`.

    Raises TransportError when there is no such interface, or it is not a CAN bus.
    """
    try:
        (link,) = typed_json.decode(ip(channel), tuple[_Link, ...])
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        raise TransportError(f"{channel}: `ip` gives no usable answer", hint="apt install iproute2") from None
    if link.link_type != "can":
        raise TransportError(f"{channel} is not a CAN bus, but {link.link_type or 'unknown'}", hint="ip link show")
    data = link.linkinfo.info_data
    return CanLink(
        name=link.ifname,
        kind=link.linkinfo.info_kind,
        up="UP" in link.flags,
        state=data.state,
        bitrate=data.bittiming.bitrate,
        data_bitrate=data.data_bittiming.bitrate,
        sent_errors=data.berr_counter.tx,
        received_errors=data.berr_counter.rx,
        bus_offs=link.linkinfo.info_xstats.bus_off,
        restart_ms=data.restart_ms,
        dropped=link.stats64.rx.dropped,
    )


def complaints(link: CanLink, bitrate: int) -> list[tuple[str, str]]:
    """Return what is wrong with an interface that should have this bit rate, each with the remedy."""
    found = []
    up = f"ip link set {link.name} up type can bitrate {bitrate}"
    if link.bitrate is not None and link.bitrate != bitrate:
        found.append((f"bit rate {link.bitrate}, expected {bitrate}", f"ip link set {link.name} down; {up}"))
    if not link.up:
        found.append(("the interface is down", up))
    elif STATES.get(link.state):
        found.append((f"{link.state}: {STATES[link.state]}", "check bit rates, lines and terminations; " + up))
    return found
