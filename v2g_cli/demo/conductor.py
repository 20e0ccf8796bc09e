"""Runs one scenario: starts its programs, acts as the grid operator, injects faults, and shuts down gracefully."""

import contextlib
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from v2g.errors import TimeoutExpired, TransportError
from v2g.typed_json import Fields
from v2g.units import HOUR_MS
from v2g_cli.demo.broker import Broker, find_mosquitto, start_broker
from v2g_cli.demo.folder import CAN_GROUP, LOWERED_LIMIT_W, SITE_LIMIT_W, STATION, RunFolder
from v2g_cli.demo.operator import Operator
from v2g_cli.demo.processes import Event, Program, free_port, program, wait_for
from v2g_cli.demo.scenario import Scenario, happened
from v2g_cli.demo.tables import APP, PLACE
from v2g_cli.demo.timeline import Timeline

if TYPE_CHECKING:
    from csms.fleets.rules import Fleet
    from v2g_cli.demo.market import DemoMarket
    from v2g_cli.demo.vtn import DemoVtn

START_S: Final = 120.0
SESSION_S: Final = 90.0
SETTLE_S: Final = 20.0
POLL_S: Final = 0.02
LOOPS_BEFORE_FATE: Final = 4
LOOPS_BEFORE_DISPATCH: Final = 30
DISPATCHED_W: Final = -6_000
AWAY_S: Final = 2.0
FREEZE_S: Final = 8.0
PLAN_S: Final = 0.3
PLAN_BY_S: Final = 3.0
"""How long a plan in which vehicles give power back is waited for."""
METERED_S: Final = 1
"""How often meters are reported to the back end where it plans or reports energy, real seconds."""
VTN_PRICES: Final = ((0.28, 0.12), (0.30, 0.14), (0.35, 0.18))
"""Prices of a VTN: import and export, EUR/kWh, each for an hour."""


class Conductor:
    """One run in one folder. `events` holds all reported events, in reading order."""

    def __init__(self, folder: RunFolder, timeline: Timeline) -> None:
        self.folder, self.timeline = folder, timeline
        self.scenario: Scenario = folder.scenario
        self.events: list[Event] = []
        self.programs: dict[str, Program] = {}
        self.broker: Broker | None = None
        self.transport = "http"
        self.vtn: DemoVtn | None = None
        self.event_ms = 0
        """When the VTN's event begins (UTC ms)."""
        self.plan: Fields | None = None
        """The fleet's plan, once all vehicles were part of it."""
        self.fleet: Fleet | None = None
        self.market: DemoMarket | None = None
        self._plan_at = self._plan_by = 0.0
        self.cdrs: list[Fields] = []
        """What the provider of the vehicle's contract has received, by roaming."""
        self._ports = {"ocpp": 0, "api": 0}
        self._sdp_ports: list[int] = []
        self.telemetry_stored = 0
        """How many telemetry records the back end has stored, as reported at the end."""
        self.struck_at: float | None = None
        """When a connection was cut, s of CLOCK_MONOTONIC."""
        self._shown = 0
        self._discharging = self._loops = 0
        self._fate: list[Callable[[], bool]] = []

    def play(self) -> None:
        """Run the scenario. Raises V2GError when a program fails to start or to end."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((CAN_GROUP, 1))
            except OSError as error:
                hint = "without a network: sudo ip route add 239.0.0.0/8 dev lo"
                raise TransportError(f"multicast, the demo's CAN bus: {error.strerror}", hint=hint) from None
        try:
            self._start_broker()
            self._start_vtn()
            if self.scenario.roaming:
                self._ports |= {"api": free_port(), "provider": free_port()}  # partners know them beforehand
                config = self.folder.provider_config(self._ports["provider"])
                self._start(program("provider", self.folder.path, config, module="csms"), "ocpp", "ready")
            if self.scenario.fleet == "bids":
                from v2g_cli.demo.market import DemoMarket  # with a database

                self.market = DemoMarket(self.folder, "bids", self.say)
                self.market.remember()
            self._start_csms()
            # The provider's contracts let the operator's charger feed back
            if self.scenario.roaming:
                self.say("operator", "operator and provider become roaming partners by OCPI's handshake")
                invited = self._operator.add_partner({"partner_id": "provider", "discharge": True})
                known = {name: invited[name] for name in ("versions_url", "token")}
                self._provider.add_partner({"partner_id": "operator", **known})
                self._provider.register("operator")
                self._operator.put_location(PLACE)
            self._put_fleet()  # the back end gets ready to plan
            self._start_secc()
            self._choose_fate()
            self._start_gateway()
            self._start_evcc()
            self._follow_session()
            self._follow_settlement()
        finally:
            for name in reversed(self.programs):  # vehicles, charger, back end
                self.programs[name].stop()
            if self.vtn is not None:
                self.vtn.stop()
            if self.broker is not None:
                self.broker.stop()
            self._read()

    # -- programs

    def _start_broker(self) -> None:
        mosquitto = find_mosquitto() if self.scenario.broker else None
        if mosquitto is None:
            why = "mosquitto is not installed" if self.scenario.broker else "no broker in this scenario"
            self.say("telemetry", f"{why}: telemetry goes over HTTPS")
            return
        self.broker = start_broker(mosquitto, self.folder.path / "broker", self.folder.pki)
        self.folder.mqtt_port = self.broker.port
        self.transport = "mqtt"
        self.say("telemetry", f"mosquitto listens on port {self.broker.port}, TLS 1.3")

    def _start_vtn(self) -> None:
        if not self.scenario.vtn:
            return
        from v2g_cli.demo.vtn import SECRET, DemoVtn  # with an HTTP server

        self.vtn = DemoVtn(self.folder.utc_ms)
        self.folder.vtn_port = self.vtn.port
        self.folder.write("vtn.secret", SECRET)
        self.vtn.publish_prices(self.folder.origin_utc_ms // HOUR_MS * HOUR_MS, VTN_PRICES * 8)
        self.say("grid", f"an OpenADR VTN listens on port {self.vtn.port}, with prices of a day")

    def _start_csms(self) -> None:
        config = self.folder.csms_config(ocpp_port=self._ports["ocpp"], api_port=self._ports["api"])
        ready = self._start(program("csms", self.folder.path, config), "ocpp", "ready")
        self._ports.update(ocpp=ready.data["ocpp_port"], api=ready.data["api_port"])

    def _start_secc(self) -> None:
        self._sdp_ports = self._sdp_ports or [free_port(socket.SOCK_DGRAM) for _ in self.folder.evses]
        config = self.folder.secc_config(ocpp_port=self._ports["ocpp"], sdp_ports=self._sdp_ports)
        self._start(self._program("secc", config, self.scenario.secc_fault), "session", "ready")

    def _start_gateway(self) -> None:
        self.folder.can_port = self.folder.can_port or free_port(socket.SOCK_DGRAM)
        config = self.folder.gateway_config(api_port=self._ports["api"])
        self._start(program("gateway", self.folder.path, config, module="v2g_gateway"), "telemetry", "started")

    def _put_fleet(self) -> None:
        """Have vehicles planned that arrive about now."""
        self.fleet = self.scenario.begun_fleet(self.folder.utc_ms())
        if self.fleet is not None:
            self._operator.put_fleet(self.fleet)

    def _start_evcc(self) -> None:
        if self.vtn is not None or self.fleet is not None:
            self._operator.read_meters(STATION, METERED_S)
        self._put_fleet()
        config = self.folder.evcc_config(sdp_port=self._sdp_ports[0])
        evcc = self.programs["evcc"] = self._program("evcc", config, self.scenario.evcc_fault)
        evcc.start()
        for number in self.folder.evses[1:]:
            config = self.folder.neighbour_config(number, sdp_port=self._sdp_ports[number - 1])
            name = f"evcc{number}"
            neighbour = self.programs[name] = program(name, self.folder.path, config, module="evcc")
            neighbour.start()

    def _program(self, name: str, config: Path, fault: object) -> Program:
        if fault is None:
            return program(name, self.folder.path, config)
        value = getattr(fault, "value", "")
        return program(name, self.folder.path, config, module="v2g_cli.demo.faults", arguments=(name, value))

    def _start(self, new: Program, stage: str, name: str) -> Event:
        known = self.programs.get(new.name)
        if known is not None:  # restarted: its files continue
            new.events = known.events
            new.cpu_s, new.rss_mib = known.cpu_s, known.rss_mib
        self.programs[new.name] = new
        new.start()
        event = wait_for(new, stage, name, self.events, seconds=START_S)
        self._show()
        return event

    # -- following events

    def say(self, stage: str, words: str) -> None:
        """Show an action of the demo itself; what telemetry does is no action."""
        if stage != "telemetry" or self.timeline.whole:
            self.timeline.say(time.monotonic(), "demo", stage, words)

    def _read(self) -> list[Event]:
        fresh = [
            msgspec.structs.replace(event, process=each.name)
            for each in self.programs.values()
            for event in each.events.read()
        ]
        self.events += sorted(fresh, key=lambda event: event.t)
        return self._show()

    def _show(self) -> list[Event]:
        fresh = self.events[self._shown :]
        self._shown = len(self.events)
        for event in fresh:
            self.timeline.show(event)
        return fresh

    def _follow_session(self) -> None:
        deadline = time.monotonic() + SESSION_S
        evcc = self.programs["evcc"]
        while True:
            ended = all(each.poll() is not None for name, each in self.programs.items() if name.startswith("evcc"))
            for event in self._read():
                if (event.process, event.stage, event.name) == ("evcc", "loop", "flow"):
                    self._loops += 1
                    self._discharging += event.data.get("power_w", 0) < 0
            self._fate = [fate for fate in self._fate if not fate()]
            if ended:
                return
            if time.monotonic() > deadline:
                raise TimeoutExpired("demo session", SESSION_S, hint=f"see {evcc.log}")
            time.sleep(POLL_S)

    def _follow_settlement(self) -> None:
        """Wait until the back end has settled all sessions, and query its telemetry count."""
        for fate in self._fate:
            fate()
        self.programs["gateway"].stop()  # it delivers what it has
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline and not self._complete():
            self._read()
            time.sleep(POLL_S)
        with contextlib.suppress(TransportError):
            self.telemetry_stored = self._operator.telemetry_stored()
            if self.market is not None:
                self.market.settle()
                self.folder.write("market.json", msgspec.json.encode(self.market.record).decode())
            if self.scenario.roaming:
                self.cdrs = self._provider.cdrs()
                self.folder.write("cdrs.json", msgspec.json.encode([each["document"] for each in self.cdrs]).decode())

    def _complete(self) -> bool:
        names = {(e.process, e.name) for e in self.events}
        bundles = sum((e.process, e.name) == ("secc", "bundle_written") for e in self.events)
        settled = sum((e.process, e.name) == ("csms", "settled") for e in self.events) >= bundles
        ended = ("csms", "transaction_ended") in names or ("csms", "transaction_started") not in names
        reported = all(happened(each, self.events) for each in self.scenario.sees if each[0] in ("csms", "provider"))
        return settled and ended and reported and (self.vtn is None or bool(self.vtn.reported_kwh))

    # -- grid operator and faults; what has to wait returns whether it is done

    def _choose_fate(self) -> None:
        scenario = self.scenario
        fates = (
            (self.vtn is not None, self._publish_event),
            (self.fleet is not None, self._fetch_plan),
            (scenario.roaming, self._dispatch),
            (scenario.remote_start, self._start_transaction),
            (scenario.lower_limit, self._after_loops(self._lower_limit, back=True)),
            (scenario.withdraw_v2g, self._after_loops(self._withdraw, back=True)),
            (scenario.rest_by_csms, self._after_loops(self._rest)),
            (scenario.csms_away, self._after_loops(self._kill_csms)),
            (scenario.kill_secc, self._after_loops(self._kill_secc, back=True)),
            (scenario.kill_gateway, self._after_loops(self._stop_gateway)),
            (scenario.kill_paused_secc, self._kill_paused_secc),
            (scenario.freeze_evcc, self._after_loops(self._freeze_evcc)),
            (scenario.cut_powerline, self._after_loops(self._cut_powerline)),
            (scenario.interrupt_evcc, self._after_loops(self._interrupt_evcc)),
        )
        self._fate = [fate for chosen, fate in fates if chosen]

    def _after_loops(self, act: Callable[[], None], *, back: bool = False) -> Callable[[], bool]:
        """Return what acts after some charge loops, or after some in which power has flowed `back`."""

        def fate() -> bool:
            due = (self._discharging if back else self._loops) >= LOOPS_BEFORE_FATE
            if due:
                act()
            return due

        return fate

    @property
    def _operator(self) -> Operator:
        return Operator(self._ports["api"], self.folder.pki.path("csms/root.pem"), self.folder.token)

    @property
    def _provider(self) -> Operator:
        return Operator(self._ports["provider"], self.folder.pki.path("csms/root.pem"), self.folder.token)

    def _transaction(self) -> str:
        started = next(e for e in self.events if (e.process, e.name) == ("csms", "transaction_started"))
        return str(started.data["transaction"])

    def _start_transaction(self) -> bool:
        """A driver starts by an app, once the vehicle asks for authorisation."""
        if not any((e.process, e.stage, e.name) == ("secc", "authorization", "asked") for e in self.events):
            return False
        self.say("operator", "the driver's app asks the back end to start the transaction")
        self._operator.start(STATION, APP)
        return True

    def _publish_event(self) -> bool:
        """The VTN publishes an event, once the vehicle charges."""
        if self.vtn is None or self._loops < LOOPS_BEFORE_FATE or not self._offered("evcc"):
            return False
        self.event_ms = self.folder.utc_ms() // 1000 * 1000 + self.folder.step_s * 1000
        self.vtn.publish_event(self.event_ms, self.folder.step_s)
        minutes = self.folder.step_s // 60
        self.say("grid", f"the VTN publishes an event: in {minutes} min less power, then power from the vehicles")
        return True

    def _dispatch(self) -> bool:
        """The operator asks for power back, once the vehicle has charged for a while."""
        if self._loops < LOOPS_BEFORE_DISPATCH:
            return False
        self.say("operator", f"{-DISPATCHED_W / 1000:.0f} kW are asked back, of vehicles whose drivers consent")
        self._operator.dispatch(DISPATCHED_W)
        return True

    def _offered(self, vehicle: str) -> bool:
        return any((e.process, e.stage, e.name) == (vehicle, "offer", "decided") for e in self.events)

    def _fetch_plan(self) -> bool:
        """Store the fleet's plan, once all vehicles are part of it with what they can give back."""
        now = time.monotonic()
        names = [name for name in self.programs if name.startswith("evcc")]
        if self.fleet is None or now < self._plan_at or not all(map(self._offered, names)):
            return False
        self._plan_at, self._plan_by = now + PLAN_S, self._plan_by or now + PLAN_BY_S
        with contextlib.suppress(TransportError):
            found = self._operator.of_fleet(self.fleet.id, "plan")
            vehicles = found["plan"]["vehicles"]
            gives = any(min(each["power_w"], default=0) < 0 for each in vehicles)
            if len(vehicles) < len(names) or (not gives and now < self._plan_by):
                return False
            self.plan = found
            self.folder.write("plan.svg", found["chart"])
            self.folder.write("plan.txt", "".join(f"{line}\n" for line in found["explanation"]))
            if self.market is not None:
                self.market.operator = self._operator
                self._fate.append(self.market.go_on)
                return True
            self.say("plan", f"the fleet is planned: {self.folder.path / 'plan.svg'}")
            for line in found["explanation"]:
                self.say("plan", line)
            return True
        return False

    def _withdraw(self) -> None:
        self.say("operator", "the back end no longer allows the vehicle to discharge")
        self._operator.allow(STATION, self._transaction(), "DC")

    def _rest(self) -> None:
        self.say("operator", "the back end's charging profile allows nothing for half an hour")
        self._operator.rest(STATION, self._transaction(), self.folder.utc_ms(), SITE_LIMIT_W)

    def _lower_limit(self) -> None:
        self.say("grid", f"the grid operator lowers the export limit to {LOWERED_LIMIT_W / 1000:.0f} kW")
        self._operator.put_signal(self.folder.signal(2, LOWERED_LIMIT_W).to_json())

    def _kill_csms(self) -> None:
        self.say("fate", "the back end is killed with -9")
        self.programs["csms"].stop(signal.SIGKILL)
        back = time.monotonic() + AWAY_S
        self._fate.append(lambda: self._revive_csms(back))

    def _revive_csms(self, back: float) -> bool:
        if time.monotonic() < back and self.programs["evcc"].poll() is None:
            return False
        self.say("fate", "the back end starts again")
        self._start_csms()
        return True

    def _freeze_evcc(self) -> None:
        self.say("fate", "the vehicle's computer freezes")
        self._signal("evcc", signal.SIGSTOP)
        thaw = time.monotonic() + FREEZE_S
        self._fate.append(lambda: self._thaw_evcc(thaw))

    def _thaw_evcc(self, thaw: float) -> bool:
        seen = any(e.name == "timeout" and e.process == "secc" for e in self.events)
        if not seen and time.monotonic() < thaw:
            return False
        self.say("fate", "the vehicle's computer continues")
        self._signal("evcc", signal.SIGCONT)
        return True

    def _cut_powerline(self) -> None:
        self.struck_at = time.monotonic()
        self.say("fate", "the powerline is cut")
        self.folder.cut_powerline()

    def _interrupt_evcc(self) -> None:
        self.say("fate", "Ctrl-C at the vehicle")
        self._signal("evcc", signal.SIGINT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.programs[name].process
        if process is not None:
            process.send_signal(number)

    def _kill_secc(self) -> None:
        self.say("fate", "the charger is killed with -9 while power flows back")
        self.programs["secc"].stop(signal.SIGKILL)
        self._fate.append(self._revive_secc)

    def _kill_paused_secc(self) -> bool:
        if not any((e.process, e.name) == ("evcc", "resting") for e in self.events):
            return False
        self.say("fate", "the charger is killed with -9 while the vehicle pauses, and starts again")
        self.programs["secc"].stop(signal.SIGKILL)
        self._start_secc()
        return True

    def _stop_gateway(self) -> None:
        self.say("fate", "the telemetry gateway hangs")
        self._signal("gateway", signal.SIGSTOP)
        self._fate.append(self._after_loops(self._kill_gateway, back=True))

    def _kill_gateway(self) -> None:
        self.say("fate", "the telemetry gateway is killed with -9 while power flows back")
        self.programs["gateway"].stop(signal.SIGKILL)
        self._fate.append(self._revive_gateway)

    def _revive_gateway(self) -> bool:
        checkpoints = sum((each.process, each.name) == ("evcc", "checkpoint_signed") for each in self.events)
        if checkpoints < 2 and self.programs["evcc"].poll() is None:
            return False
        self.say("fate", "the telemetry gateway starts again")
        self._start_gateway()
        return True

    def _revive_secc(self) -> bool:
        if self.programs["evcc"].poll() is None:
            return False
        self.say("fate", "the charger starts again")
        with contextlib.suppress(TimeoutExpired):
            self._start_secc()
        return True
