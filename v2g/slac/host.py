"""What both matching cores share: the timers, the queue of actions, and the talk with the own modem."""

from collections.abc import Callable
from typing import Final

from v2g.errors import FrameError
from v2g.observe import Observe, Scalar
from v2g.slac import mme
from v2g.slac.actions import Action, Send
from v2g.slac.keys import NMK_SIZE, nid_of
from v2g.slac.timing import SlacTiming

Entropy = Callable[[int], bytes]
"""Returns that many unpredictable bytes; a core asks for keys, run identifiers and sound contents."""

_NO_KEY: Final = (b"", b"")


class Host:
    """Base of the EV and EVSE core: `receive`, `tick`, `deadline`, `actions`.

    Feed every frame of the link to `receive`, call `tick` at `deadline()`, and execute `actions()` after each call.
    Frames that are not understood are ignored, as the standard wants. No call raises for what a peer sends.
    """

    def __init__(self, timing: SlacTiming, *, mac: bytes, entropy: Entropy, link_status: bool) -> None:
        self.mac = mac
        self._timing = timing
        self._entropy = entropy
        self._link_status = link_status
        self._actions: list[Action] = []
        self._timers: dict[str, float] = {}
        self._key = _NO_KEY  # (nid, nmk) that the modem has or is being given
        self._key_tries = 0
        self._keyed = False
        self._key_wanted: tuple[bytes, bytes] | None = None
        self._poll_s: float | None = None

    # -- what the shell calls ---------------------------------------------------------------------------------

    def receive(self, frame: bytes, now: float) -> None:
        """Take in one Ethernet frame."""
        try:
            received = mme.decode(frame)
        except FrameError:
            return
        if received.source == self.mac or received.destination not in (self.mac, mme.BROADCAST):
            return
        message = received.message
        if isinstance(message, mme.CmSetKeyCnf):
            self._key_answered(now)
        elif isinstance(message, mme.VsPlLinkStatusCnf):
            if self._poll_s is not None and message.mstatus == 0:
                self._on_link(message.link_status == 1, now)
        elif isinstance(message, mme.CmAmpMapReq):
            if message.amlen:
                self._send(received.source, mme.CmAmpMapCnf())
        else:
            self._on_message(received.source, message, now)

    def tick(self, now: float) -> None:
        """Let the timers that are due by `now` run out, earliest first."""
        for name, at in sorted(self._timers.items(), key=lambda item: item[1]):
            if at <= now and self._timers.get(name) == at:
                del self._timers[name]
                if name == "key":
                    self._key_timeout(now)
                elif name == "poll":
                    self._poll(now)
                else:
                    self._on_timer(name, now)

    def deadline(self) -> float | None:
        """Return when `tick` must be called, or None."""
        return min(self._timers.values(), default=None)

    def actions(self) -> list[Action]:
        """Return what is to be done since the last call, in order."""
        actions, self._actions = self._actions, []
        return actions

    # -- what the roles fill in -------------------------------------------------------------------------------

    def _on_message(self, source: bytes, message: mme.Mme, now: float) -> None:
        raise NotImplementedError

    def _on_timer(self, name: str, now: float) -> None:
        raise NotImplementedError

    def _on_key_set(self, now: float) -> None:
        raise NotImplementedError

    def _on_modem_silent(self, now: float) -> None:
        raise NotImplementedError

    def _on_link(self, up: bool, now: float) -> None:
        raise NotImplementedError

    # -- helpers ----------------------------------------------------------------------------------------------

    def _send(self, destination: bytes, message: mme.Mme) -> None:
        self._actions.append(Send(mme.encode(mme.MmeFrame(destination, self.mac, message))))

    def _observe(self, name: str, **data: Scalar) -> None:
        self._actions.append(Observe("link", name, data))

    def _random_key(self, now: float) -> None:
        """Leave whatever network the modem is in: HomePlug has no message for that, a new key does it."""
        nmk = self._entropy(NMK_SIZE)
        self._set_key(nid_of(nmk), nmk, now)

    def _set_key(self, nid: bytes, nmk: bytes, now: float) -> None:
        """Give the modem a key; one that is still under way is finished first, modems do not take two at once."""
        self._stop_polling()
        self._keyed = False
        if "key" in self._timers:
            self._key_wanted = (nid, nmk)
            return
        self._key, self._key_tries = (nid, nmk), 0
        self._send_key(now)

    def _send_key(self, now: float) -> None:
        nid, nmk = self._key
        self._key_tries += 1
        self._send(mme.LOCAL_MODEM, mme.CmSetKeyReq(nid=nid, nmk=nmk))
        self._timers["key"] = now + self._timing.set_key_s

    def _key_answered(self, now: float) -> None:
        if self._timers.pop("key", None) is None:
            return
        if self._key_wanted is not None:
            wanted, self._key_wanted = self._key_wanted, None
            self._set_key(*wanted, now)
        else:
            self._keyed = True
            self._on_key_set(now)

    def _key_timeout(self, now: float) -> None:
        if self._key_wanted is not None:
            wanted, self._key_wanted = self._key_wanted, None
            self._set_key(*wanted, now)
        elif self._key_tries <= self._timing.match_retries:
            self._send_key(now)
        else:
            self._on_modem_silent(now)

    def _start_polling(self, interval_s: float, now: float) -> None:
        """Ask for the link now and every `interval_s`. A modem that cannot be asked is believed to have one."""
        self._poll_s = interval_s
        if self._link_status:
            self._poll(now)
        else:
            self._on_link(True, now)  # noqa: FBT003

    def _keep_polling(self, now: float) -> None:
        """The link is up: ask again now and then, to see it go."""
        self._stop_polling()
        if self._link_status:
            self._poll_s = self._timing.matched_poll_s
            self._timers["poll"] = now + self._poll_s

    def _poll(self, now: float) -> None:
        if self._poll_s is not None:
            self._timers["poll"] = now + self._poll_s
            self._send(mme.LOCAL_MODEM, mme.VsPlLinkStatusReq())

    def _stop_polling(self) -> None:
        self._poll_s = None
        self._timers.pop("poll", None)
