"""Our vehicle on one end of a cable, at whose other end is the host of a charger's modem; see test_slac_peer.py.

`python -m tests.interop.slac_vehicle INTERFACE CHARGER_HOST_MAC`: the cable is the port between that host and its
modem, so both modems are simulated here. Prints what the vehicle's core reports, one JSON line each.
"""

import asyncio
import json
import secrets
import sys
from typing import Any

import msgspec

from v2g.io.plc.datalink import SlacRunner
from v2g.io.plc.link import OnFrame, OnPort
from v2g.io.plc.raw import RawLink
from v2g.observe import Observe
from v2g.slac.ev import EvSlac, EvSlacConfig
from v2g.slac.modem import AttenuationConfig, FrameDelivery, SimulatedModem
from v2g.slac.shared import STANDARD, Action, Matched, MatchingFailed

EV = bytes.fromhex("020000000201")
GIVE_UP_S = 25
_PATIENT = msgspec.structs.replace(STANDARD, match_retries=50)
"""The peer runs in Python on a machine that others keep busy: it may take longer for an answer than a modem's host."""


class TwoModems:
    """The vehicle's port: its modem, the line, the charger's modem, and the cable to the charger's host."""

    def __init__(self, cable: RawLink, charger: bytes) -> None:
        self._cable = cable
        self._callback: OnFrame | None = None
        self._own = SimulatedModem(host_mac=EV, mac=b"\x06" + EV[1:], measures=None)
        self._other = SimulatedModem(host_mac=charger, mac=b"\x06" + charger[1:], measures=AttenuationConfig())
        cable.on_frame(lambda frame: self._from_other(self._other.from_host(frame)))

    @property
    def mac(self) -> bytes:
        return EV

    def on_frame(self, callback: OnFrame) -> None:
        self._callback = callback

    def on_port(self, callback: OnPort) -> None:
        self._cable.on_port(callback)

    def send(self, frame: bytes) -> None:
        self._from_own(self._own.from_host(frame))

    def close(self) -> None:
        self._cable.close()

    def _from_own(self, deliveries: list[FrameDelivery]) -> None:
        for delivery in deliveries:
            if delivery.to == "line":
                self._from_other(self._other.from_line(delivery.frame))
            elif self._callback is not None:
                self._callback(delivery.frame)

    def _from_other(self, deliveries: list[FrameDelivery]) -> None:
        for delivery in deliveries:
            if delivery.to == "line":
                self._from_own(self._own.from_line(delivery.frame))
            else:
                self._cable.send(delivery.frame)


def tell(action: str, **what: Any) -> None:
    sys.stdout.write(json.dumps({"action": action, **what}) + "\n")
    sys.stdout.flush()


async def main(interface: str, charger: str) -> None:
    over = asyncio.Event()

    def reported(action: Action) -> None:
        what = msgspec.to_builtins(action) if isinstance(action, Observe | MatchingFailed) else {}
        if isinstance(action, Matched):
            what = {
                "nid": action.nid.hex(),
                "nmk": action.nmk.hex(),
                "evse_mac": action.evse_mac.hex(),
                "attenuation_db": action.attenuation_db,
            }
        tell(type(action).__name__, **what)
        if isinstance(action, Matched | MatchingFailed):
            over.set()

    port = TwoModems(RawLink(interface), bytes.fromhex(charger))
    core = EvSlac(EvSlacConfig(timing=_PATIENT), mac=port.mac, entropy=secrets.token_bytes)
    runner = SlacRunner(core, port, reported)
    tell("listening")
    await asyncio.to_thread(sys.stdin.readline)  # until the charger is ready
    core.start(runner.now())
    runner.drain()
    await asyncio.wait_for(over.wait(), GIVE_UP_S)
    await asyncio.to_thread(sys.stdin.readline)
    port.close()


asyncio.run(main(*sys.argv[1:]))
