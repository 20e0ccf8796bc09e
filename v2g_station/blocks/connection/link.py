"""The connection to the CSMS: connect, register, send heartbeats and queued messages, reconnect (B01-B04, B10, G02).

Order on a new connection: BootNotification unless the CSMS has accepted this boot, unreported connector states, then
the outbox.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from v2g.errors import OcppError, RefusedError, TimeoutExpired, TransportError
from v2g.observe import Callbacks, Observe
from v2g.ocpp.messages import provisioning as ocpp
from v2g.ocpp.messages.availability import HeartbeatRequest, HeartbeatResponse
from v2g.ocpp.messages.base import Message
from v2g.ocpp.quirks import QUIRKS, QuirkName, read_tolerantly
from v2g.ocpp.routes import Version, action_of
from v2g.ocpp.rpc import Answered, Called, Failed, Mend, RpcPeer
from v2g.ocpp.rpc import Send as RpcSend
from v2g.ocpp.times import parse_time
from v2g_station.blocks.connection.network import NetworkProfiles
from v2g_station.kernel.kernel import Answer, Connect, Deferred, Disconnect, Kernel, Ping, SendToCsms, Then

if TYPE_CHECKING:
    from v2g.ocpp.v16.mirrored import MirroredPeer

BOOT_WAIT: Final = 30.0
"""Seconds between boot notifications if the CSMS leaves the interval to the station (B02.FR.07, B03.FR.05)."""

CONNECT_TIMEOUT: Final = 10.0
MOST_ASKED: Final = 300.0
"""Seconds that a CSMS may have a station wait by Retry-After (RFC 9110 10.2.3): the operator's error must not last."""
MAX_UNANSWERED: Final = 3
"""Consecutive requests without an answer, or anything else, after which a connection counts as dead."""


class BackOff(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait before reconnecting, all in s (OCPP-J 5.3): `minimum` doubles `repeats` times."""

    minimum: float = 1.0
    random_range: float = 2.0
    repeats: int = 5

    def wait(self, failures: int, entropy: Callable[[int], bytes], *, asked: float = 0.0) -> float:
        """Return the wait before reconnect attempt `failures` + 1, `failures` >= 0: at least what the CSMS has `asked`
        for, MOST_ASKED at most."""
        share = int.from_bytes(entropy(4), "big") / 2**32
        least = self.minimum * float(2 ** min(failures, self.repeats))
        return max(least, min(asked, MOST_ASKED)) + self.random_range * share


class Outlet(Protocol):
    """A source of messages to send while the CSMS accepts them."""

    def pump(self) -> bool:
        """Send the next message; return whether it did."""

    def lost(self) -> None:
        """Handle a lost connection."""


class CsmsLink:
    """The Connection of one station. `amend` sees every answer first and returns the answer to apply; `mirror` makes
    the peer of a connection of 1.6, if the station also speaks it."""

    def __init__(
        self,
        kernel: Kernel,
        networks: NetworkProfiles,
        *,
        versions: tuple[Version, ...],
        handles: frozenset[str],
        answer: Callable[[Message], Message],
        amend: Callable[[Message, Answer], Answer],
        outlets: tuple[Outlet, ...],
        security_event: Callable[[str, str], None],
        boot_reason: ocpp.BootReason,
        message_timeout: float | None = None,
        mirror: "Callable[[frozenset[str], float, Mend], MirroredPeer] | None" = None,
    ) -> None:
        self._k = kernel
        self._mirror = mirror
        self._networks = networks
        self._versions = versions
        self._handles = handles
        self._answer = answer
        self.boot_reason = boot_reason
        self._tls_reported = ""
        self._timeout = message_timeout
        self._amend, self._outlets, self._security_event = amend, outlets, security_event
        self.on_opened: Final = Callbacks[[]]()
        self.on_registered: Final = Callbacks[[]]()
        self.on_lost: Final = Callbacks[[]]()
        self._peer: RpcPeer | MirroredPeer | None = None
        self._draining = False
        self._then: dict[str, Then] = {}
        self._tolerated: set[str] = set()
        self._failures = 0
        self._booted_slot: int | None = None
        """The slot whose CSMS has accepted this boot."""
        self._unanswered = 0
        self._longest_s = 0.0
        """How long an answer may take that the sender gives no other time."""
        self._received_at = 0.0
        """When the CSMS last sent anything, or connected."""
        self._last_sent = 0.0
        self._stopped = False
        kernel.use(self)
        kernel.model.after["ocppcommctrlr.heartbeatinterval"] = self._interval_changed
        kernel.model.after["ocppcommctrlr.websocketpinginterval"] = lambda value: kernel.do(Ping(float(value)))

    # -- connecting

    def start(self) -> None:
        """Connect, and keep connected."""
        self._stopped = False
        if self._peer is None:
            self._connect()

    def stop(self) -> None:
        """Disconnect, or end an attempt to connect."""
        self._stopped = True
        self._k.cancel("link.connect")
        self._k.do(Disconnect())
        self.closed("stopped")

    def _connect(self) -> None:
        slot, profile = self._networks.current()
        model = self._k.model
        versions = ("1.6",) if self._mirror and profile.ocpp_version == "OCPP16" else self._versions
        self._k.do(
            Connect(
                slot=slot,
                url=profile.ocpp_csms_url,
                versions=versions,
                security_profile=profile.security_profile,
                timeout_s=CONNECT_TIMEOUT,
                ping_interval_s=model.number("OCPPCommCtrlr.WebSocketPingInterval"),
                password=self._networks.password(versions),
                identity=self._networks.identity(),
            )
        )

    def opened(self, version: Version) -> None:
        """Handle an open connection; one before it whose end was not reported has ended."""
        self._lose("replaced")
        slot, profile = self._networks.current()
        self._k.note("csms_connected", version=version, slot=slot)
        if self._k.bridged != (version == "1.6"):
            self._booted_slot = None  # another world, which has not heard of this boot
        self._k.bridged = version == "1.6"
        self._k.version = "2.0.1" if version == "1.6" else version
        self.on_opened.tell()
        self._tls_reported = ""
        self._unanswered, self._received_at = 0, self._k.now
        self._k.reachable = True
        timeout = self._longest_s = float(
            self._timeout or profile.message_timeout or self._k.model.number("OCPPCommCtrlr.MessageTimeout[Default]")
        )
        self._tolerated.clear()
        mend = partial(self._read_answer, version)
        if version == "1.6" and self._mirror is not None:
            self._peer = self._mirror(self._handles, timeout, mend)
        else:
            self._peer = RpcPeer(version, handles=self._handles, entropy=self._k.entropy, timeout=timeout, mend=mend)
        if self._k.registration == "Accepted" and slot == self._booted_slot:
            self._registered()  # the CSMS has accepted this boot (OCPP-J 5.3)
        else:
            if self._k.registration == "Accepted":  # possibly by another CSMS (B10.FR.10)
                self._k.registration = "Unknown"
            self.boot()

    def failed(self, reason: str, tls: str = "", wait_s: float = 0.0) -> None:
        """Handle a failed connection attempt; `tls` is the TLS error, as named by TlsError, `wait_s` how long the CSMS
        asks to wait."""
        if tls and tls != self._tls_reported:  # A00.FR.316: reported once, however often it happens
            self._tls_reported = tls
            # report an invalid certificate or TLS version of the CSMS (A00.FR.310, .316)
            version = any(part in tls for part in ("version", "protocol"))
            self._security_event("InvalidTLSVersion" if version else "InvalidCsmsCertificate", tls)
        self._k.note("csms_unreachable", reason=reason[:200], attempt=self._failures + 1)
        busy = self._networks.current()
        self._networks.failed()
        self._again(wait_s if self._networks.current() == busy else 0.0)

    def closed(self, reason: str) -> None:
        """Handle a lost connection."""
        if self._lose(reason) and not self._stopped:
            self._again()

    def lost(self, reason: str) -> None:
        """Handle the end of a connection, or of an attempt to connect, whichever it was."""
        if self._peer is None:
            self.failed(reason)
        else:
            self.closed(reason)

    def _lose(self, reason: str) -> bool:
        """Fail the requests of the connection; return whether there was one."""
        if self._peer is None:
            return False
        self._k.note("csms_disconnected", reason=reason[:200])
        if self._k.online:
            self._k.went_offline()
        self._k.reachable = False
        peer, self._peer = self._peer, None
        peer.close(self._k.now)
        self._drain(peer)
        self._k.cancel("link.boot")
        self._k.cancel("link.heartbeat")
        for outlet in self._outlets:
            outlet.lost()
        self.on_lost.tell()
        return True

    def reconnect(self) -> None:
        self._failures = 0
        self._k.cancel("link.connect")
        if self._peer is not None:
            self._k.do(Disconnect())
            self.closed("reconnecting")
        self._k.cancel("link.connect")
        self._connect()

    def _again(self, asked: float = 0.0) -> None:
        number = self._k.model.number
        policy = BackOff(
            minimum=number("OCPPCommCtrlr.RetryBackOffWaitMinimum"),
            random_range=number("OCPPCommCtrlr.RetryBackOffRandomRange"),
            repeats=int(number("OCPPCommCtrlr.RetryBackOffRepeatTimes")),
        )
        self._k.after("link.connect", policy.wait(self._failures, self._k.entropy, asked=asked), self._connect)
        self._failures += 1

    # -- registration

    def boot(self, *, triggered: bool = False) -> None:
        layout = self._k.layout
        request = ocpp.BootNotificationRequest(
            reason="Triggered" if triggered else self.boot_reason,
            charging_station=ocpp.ChargingStation(
                serial_number=layout.serial_number,
                model=layout.model,
                vendor_name=layout.vendor,
                firmware_version=layout.firmware,
            ),
        )
        self._k.cancel("link.boot")
        self.call(request, self._booted, always=True)

    def _booted(self, answer: Answer) -> None:
        if not isinstance(answer, ocpp.BootNotificationResponse):
            if self._peer is not None:  # a CALLERROR or no answer: try again as if Pending
                self._k.note("boot_refused", reason=str(answer)[:200])
                self._k.after("link.boot", BOOT_WAIT, self.boot)
            return
        self._k.note("boot", status=answer.status, interval=answer.interval)
        self._k.registration = answer.status
        self._compare_clocks(answer.current_time)
        if answer.status == "Accepted":
            if answer.interval > 0:
                self._k.model.put("OCPPCommCtrlr.HeartbeatInterval", str(answer.interval), durable=True)  # B01.FR.02
            self._registered(first=True)
            return
        wait = float(answer.interval) if answer.interval > 0 else BOOT_WAIT
        self._k.after("link.boot", wait, self.boot)  # B02.FR.06, B03.FR.04

    def _registered(self, *, first: bool = False) -> None:
        self._failures = 0
        self._booted_slot = self._networks.current()[0]
        self._networks.succeeded()
        self._k.went_online(booted=first)
        self.on_registered.tell()
        self._k.note("csms_online")
        self._beat()
        self.pump()

    def _compare_clocks(self, current_time: str) -> None:
        """Compare clocks. The operating system sets the clock, with better means than OCPP."""
        try:
            offset = parse_time(current_time) - self._k.utc_ms
        except OcppError:
            return
        self._k.note("clock_compared", offset_ms=offset)

    def _read_answer(self, version: Version, payload: bytes, type_: type[Message]) -> Message:
        """Read an answer that deviates from OCPP softly, and note each quirk once a connection: what was asked would be
        asked again, though it was done. Raises OcppError, also for any request, whose CALLERROR says what is wrong."""
        tolerates: Iterable[QuirkName] = ()
        if type_.__name__.endswith(("Response", "Conf")):
            tolerates = QUIRKS
            payload = b"{}" if payload == b"null" else payload  # the other notation of none (OCPP-J 4.1.5)
        message, shown = read_tolerantly(payload, type_, version, tolerates)
        for name in sorted(shown - self._tolerated):
            self._k.note("quirk_tolerated", quirk=name, message=type_.__name__)
        self._tolerated |= shown
        return message

    def _beat(self) -> None:
        """Send a heartbeat when nothing else was sent for an interval (G02)."""
        interval = max(1.0, self._k.model.number("OCPPCommCtrlr.HeartbeatInterval"))
        rest = self._last_sent + interval - self._k.now
        if rest <= 0:
            self.call(HeartbeatRequest(), self._beaten)
            rest = interval
        self._k.after("link.heartbeat", rest, self._beat)

    def _interval_changed(self, _: str) -> None:
        """Use a new heartbeat interval."""
        if self._k.online:
            self._beat()

    def _beaten(self, answer: Answer) -> None:
        if isinstance(answer, HeartbeatResponse):
            self._compare_clocks(answer.current_time)

    # -- messages

    def call(
        self, request: Message, then: Then | None = None, *, always: bool = False, timeout: float | None = None
    ) -> None:
        then = then or _ignore
        if self._peer is None or not (always or self._k.online):
            then(TransportError("the CSMS is not connected"))
            return
        try:
            identifier = self._peer.call(request, self._k.now, timeout=timeout)
        except (OcppError, RefusedError) as error:
            self._k.note("not_sent", action=type(request).__name__, reason=str(error)[:200])
            then(error)
            return
        self._last_sent = self._k.now
        self._then[identifier] = lambda answer: then(self._amend(request, answer))
        self._drain(self._peer)

    def notify(self, message: Message) -> None:
        """Send a message without a response (OCPP-J 2.1, 4.2.4); messages unknown to this version are dropped."""
        if self._peer is None or not self._k.online:
            return
        try:
            self._peer.notify(message)
        except OcppError as error:
            self._k.note("not_sent", action=type(message).__name__, reason=str(error)[:200])
            return
        self._last_sent = self._k.now
        self._drain(self._peer)

    def receive(self, text: str) -> None:
        """Handle a frame from the CSMS."""
        if self._peer is None:
            return
        if self._unanswered:
            self._k.note("csms_answers", silent_s=round(self._k.now - self._received_at))
        self._unanswered, self._received_at = 0, self._k.now
        self._peer.receive(text, self._k.now)
        self._drain(self._peer)
        self.pump()

    def unsent(self) -> None:
        """Handle a request that was not sent, as what it reports could not be saved."""
        if self._peer is not None:
            self._peer.unsent(self._k.now)
            self._drain(self._peer)
            self.pump()

    def tick(self) -> None:
        """Time out pending requests."""
        if self._peer is not None:
            self._peer.tick(self._k.now)
            self._drain(self._peer)
            if self._unanswered >= MAX_UNANSWERED:
                self._k.do(Disconnect())
                self.closed("requests remain unanswered")
            self.pump()

    def deadline(self) -> float | None:
        """Return when `tick` is due."""
        return self._peer.deadline() if self._peer is not None else None

    def pump(self) -> None:
        """Let the message sources send, in order, while no request is pending."""
        while self._peer is not None and self._k.online and self._peer.idle:
            if not any(outlet.pump() for outlet in self._outlets):
                return

    def _drain(self, peer: "RpcPeer | MirroredPeer") -> None:
        """Carry out what a peer wants done; what follows from that is done by the outermost call."""
        if self._draining:
            return
        self._draining = True
        try:
            self._carry_out(peer)
        finally:
            self._draining = False

    def _carry_out(self, peer: "RpcPeer | MirroredPeer") -> None:
        while actions := peer.actions():
            for action in actions:
                match action:
                    case RpcSend(text=text):
                        self._k.do(SendToCsms(text))
                    case Called():
                        self._serve(peer, action)
                    case Answered(id=identifier, request=request, response=response):
                        self._conclude(identifier, request, response)
                    case Failed(id=identifier, request=request, error=error):
                        if isinstance(error, TimeoutExpired) and error.seconds >= self._longest_s:
                            self._not_answered(action_of(request))
                        self._conclude(identifier, request, error)
                        self._forgotten(error)
                    case Observe():
                        self._k.actions.append(action)

    def _not_answered(self, action: str) -> None:
        """Note a request without an answer; the first one raises the alarm that the CSMS is silent."""
        self._unanswered += 1
        if self._unanswered == 1:
            self._k.note("csms_silent", action=action, silent_s=round(self._k.now - self._received_at))

    def _conclude(self, identifier: str, request: Message, answer: Answer) -> None:
        then = self._then.pop(identifier, _ignore)
        self._k.contain(f"answer to {action_of(request)}", lambda: then(answer))

    def _serve(self, peer: "RpcPeer | MirroredPeer", called: Called) -> None:
        try:
            answer: Message | OcppError = self._answer(called.request)
        except OcppError as error:
            answer = error
        except Exception as error:  # noqa: BLE001 - one message must not end the connection
            self._k.report_defect(called.action, error)
            answer = OcppError("the station could not handle this request", answer="InternalError")
        if isinstance(answer, Deferred):
            answer.sinks.append(lambda message: self._reply(peer, called, message))
            return
        self._reply(peer, called, answer)

    def _reply(self, peer: "RpcPeer | MirroredPeer", called: Called, answer: Message | OcppError) -> None:
        status = answer.answer if isinstance(answer, OcppError) else str(getattr(answer, "status", ""))
        self._k.note("csms_request", action=called.action, status=status)
        peer.answer(called.id, answer)
        self._drain(peer)

    def _forgotten(self, error: Exception) -> None:
        """Register again if the CSMS reports that it does not know this station (B01.FR.10)."""
        if isinstance(error, OcppError) and error.answer == "SecurityError" and self._k.registration == "Accepted":
            self._k.note("registration_forgotten")
            self._k.registration = "Unknown"
            self._k.cancel("link.heartbeat")
            self.boot()


def _ignore(_: Answer) -> None:
    return
