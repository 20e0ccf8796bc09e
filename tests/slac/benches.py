"""A core of either role that is spoken to by hand, message by message."""

import itertools
from collections.abc import Iterator
from typing import Any

from v2g.iec61851.pilot import PilotState
from v2g.slac import mme, vendor
from v2g.slac.control import ModemConfig
from v2g.slac.ev import EvSlac, EvSlacConfig, EvState
from v2g.slac.evse import EvseSlac, EvseSlacConfig, EvseSlacState
from v2g.slac.host import Host
from v2g.slac.layout import Mme
from v2g.slac.mme import MmeFrame
from v2g.slac.shared import STANDARD, Matched, SendFrame

EV, EVSE = bytes.fromhex("020000000201"), bytes.fromhex("020000000101")
EV_MODEM, EVSE_MODEM = bytes.fromhex("060000000201"), bytes.fromhex("060000000101")
STRANGER = bytes.fromhex("020000000909")
RUN = b"RUN-0001"
FLAT = bytes([10]) * 58
QUALCOMM = ModemConfig(vendor="qualcomm")


class Bench:
    """What both have in common."""

    mac: bytes
    peer: bytes
    modem: bytes

    def __init__(self, core: Host) -> None:
        self.now = 0.0
        self.core: Any = core
        self.others: list[Any] = []
        self.run_id = RUN

    def take(self) -> list[Mme]:
        """Return the messages sent since, and keep the other actions."""
        messages = []
        for action in self.core.actions():
            if isinstance(action, SendFrame):
                messages.append(mme.decode(action.frame).message)
            else:
                self.others.append(action)
        for message in messages:
            if isinstance(message, mme.CmSlacParmReq):
                self.run_id = message.run_id
        return messages

    def tell(self, message: Mme, *, source: bytes | None = None, destination: bytes | None = None) -> list[Mme]:
        frame = mme.encode(MmeFrame(destination or self.mac, source or self.peer, message))
        self.core.receive(frame, self.now)
        return self.take()

    def wait(self, seconds: float) -> list[Mme]:
        """Let time pass, timer by timer."""
        end, messages = self.now + seconds, []
        while (deadline := self.core.deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.core.tick(self.now)
            messages += self.take()
        self.now = end
        return messages

    def link(self, *, up: bool) -> list[Mme]:
        """The modem reports its link."""
        return self.tell(vendor.VsPlLinkStatusCnf(link_status=int(up)), source=self.modem)

    def key_taken(self, result: int = 1) -> list[Mme]:
        """The modem confirms a key."""
        return self.tell(mme.CmSetKeyCnf(result=result), source=self.modem)


class EvBench(Bench):
    """A vehicle's core, started."""

    mac, peer, modem = EV, EVSE, EV_MODEM

    def __init__(self, config: EvSlacConfig | None = None, *, draws: Iterator[int] | None = None) -> None:
        draws = draws or itertools.count()
        core = EvSlac(config or EvSlacConfig(), mac=EV, entropy=lambda size: next(draws).to_bytes(size, "big"))
        super().__init__(core)
        self.core.start(0.0)
        assert [type(m) for m in self.take()] == [mme.CmSlacParmReq]

    def parameters(self, source: bytes = EVSE) -> list[Mme]:
        return self.tell(mme.CmSlacParmCnf(forwarding_sta=EV, run_id=self.run_id), source=source)

    def result(self, source: bytes = EVSE, *, db: int = 10, sounds: int = 10) -> list[Mme]:
        ind = mme.CmAttenCharInd(source_address=EV, run_id=self.run_id, num_sounds=sounds, aag=bytes([db]) * 58)
        return self.tell(ind, source=source)

    def confirm(self, **changes: object) -> list[Mme]:
        fields: dict[str, Any] = {
            "pev_mac": EV, "evse_mac": EVSE, "run_id": self.run_id, "nid": b"network", "nmk": bytes(16)
        }  # fmt: skip
        return self.tell(mme.CmSlacMatchCnf(**(fields | changes)))

    def choose(self) -> None:
        self.parameters()
        self.wait(0.5)
        receipt, request = self.result()
        assert receipt == mme.CmAttenCharRsp(source_address=EV, run_id=self.run_id)
        assert request == mme.CmSlacMatchReq(pev_mac=EV, evse_mac=EVSE, run_id=self.run_id)

    def reach(self, state: EvState) -> "EvBench":
        """Go to a state by the shortest way."""
        match state:
            case EvState.UNMATCHED:
                self.core.leave(self.now)
            case EvState.SOUNDING | EvState.COLLECTING | EvState.VALIDATING:
                self.parameters()
                if state is not EvState.SOUNDING:
                    self.wait(0.5)
                if state is EvState.VALIDATING:
                    self.result(db=30)
                    self.wait(0.8)
            case EvState.CHOOSING:
                self.choose()
            case EvState.PAUSING:
                self.wait(0.7)
            case (
                EvState.KEYING | EvState.JOINING | EvState.MATCHED | EvState.PAUSED | EvState.WAKING | EvState.RESUMING
            ):
                self.choose()
                self.confirm()
                if state is not EvState.KEYING:
                    self.key_taken()
                if state not in (EvState.KEYING, EvState.JOINING):
                    self.link(up=True)
                    assert isinstance(self.others[-1], Matched)
                if state in (EvState.PAUSED, EvState.WAKING, EvState.RESUMING):
                    self.core.pause(self.now)
                if state is EvState.WAKING:
                    self.core.wake_up(self.now)
                if state is EvState.RESUMING:
                    self.core.resume(self.now)
        self.take()
        assert self.core.state is state
        return self


class EvseBench(Bench):
    """A charger's core with a vehicle at its plug, before it matches."""

    mac, peer, modem = EVSE, EV, EVSE_MODEM

    def __init__(self, config: EvseSlacConfig | None = None) -> None:
        keys = iter(range(1, 10**6))
        core = EvseSlac(
            config or EvseSlacConfig(modem=QUALCOMM), mac=EVSE, entropy=lambda size: next(keys).to_bytes(size, "big")
        )
        super().__init__(core)
        self.core.prepare(0.0)
        assert isinstance(self.take()[0], mme.CmSetKeyReq)
        self.key_taken()
        self.core.pilot(PilotState.B, 0.0)
        self.core.connect(0.0)
        self.now = 1.0  # the pilot is at rest

    def start(self, *, source: bytes = EV, run_id: bytes = RUN) -> None:
        assert self.tell(mme.CmSlacParmReq(run_id=run_id), source=source) == [
            mme.CmSlacParmCnf(forwarding_sta=source, run_id=run_id)
        ]
        self.tell(mme.CmStartAttenCharInd(forwarding_sta=source, run_id=run_id), source=source)

    def sound(self, count: int = 10, aag: bytes = FLAT) -> list[Mme]:
        messages = []
        for number in range(count):
            messages += self.tell(mme.CmMnbcSoundInd(cnt=9 - number, run_id=RUN, rnd=bytes(16)))
            messages += self.tell(mme.CmAttenProfileInd(pev_mac=EV, aag=aag), source=self.modem)
        return messages

    def characterize(self) -> None:
        self.start()
        (result,) = self.sound()
        assert result == mme.CmAttenCharInd(source_address=EV, run_id=RUN, num_sounds=10, aag=FLAT)
        assert self.tell(mme.CmAttenCharRsp(source_address=EV, run_id=RUN)) == []

    def match(self, run_id: bytes = RUN) -> list[Mme]:
        return self.tell(mme.CmSlacMatchReq(pev_mac=EV, evse_mac=EVSE, run_id=run_id))

    def toggle(self, count: int) -> None:
        """The vehicle toggles the pilot; time passes."""
        self.core.pilot(PilotState.B, self.now)
        for _ in range(count):
            for state in (PilotState.C, PilotState.B):
                self.now += STANDARD.toggle_state_s
                self.core.pilot(state, self.now)

    def reach(self, state: EvseSlacState) -> "EvseBench":
        """Go to a state by the shortest way."""
        if state is EvseSlacState.UNMATCHED:
            self.core.disconnect(self.now)
        elif state is not EvseSlacState.MATCHING:
            self.characterize()
            assert self.match()
            if state is not EvseSlacState.JOINING:
                self.link(up=True)
                assert isinstance(self.others[-1], Matched)
            if state in (EvseSlacState.PAUSED, EvseSlacState.RESUMING):
                self.core.pause(self.now)
            if state is EvseSlacState.RESUMING:
                self.core.wake_up(self.now)
                self.wait(STANDARD.step_x1_s)
        self.take()
        assert self.core.state is state
        return self
