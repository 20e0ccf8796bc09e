"""A control box for tests, which shares no code with the charger: plain JSON, turned into the form of the wire here."""

import json
from typing import Any

from v2g.eebus.charger import ChargerFacts, ControllableSystem, FailsafeValues
from v2g.eebus.spine import Moment
from v2g.observe import Observe

BOX = "d:_n:box_1"
CHARGER = "d:_n:charger_7"
START = Moment(1000.0, 1_780_000_000_000)


def wire(plain: Any) -> Any:
    """Return plain JSON in EEBUS form."""
    if isinstance(plain, dict):
        return [{name: wire(value)} for name, value in plain.items()]
    return [wire(each) for each in plain] if isinstance(plain, list) else plain


def plain(sent: Any) -> Any:
    """Return plain JSON of EEBUS form."""
    if isinstance(sent, dict):
        return {name: plain(value) for name, value in sent.items()}
    if not isinstance(sent, list):
        return sent
    if all(isinstance(each, dict) and len(each) == 1 for each in sent):
        return {name: plain(value) for each in sent for name, value in each.items()}
    return [plain(each) for each in sent]


def replaced(sent: bytes) -> Any:
    """Return plain JSON as ship-go reads it: by replacing text, which breaks on white space and on empty lists."""
    for old, new in ((b"[{", b"{"), (b"},{", b","), (b"}]", b"}"), (b"[]", b"{}")):
        sent = sent.replace(old, new)
    return json.loads(sent)


def feature(entity: list[int], number: int, device: str | None) -> dict[str, Any]:
    return {**({"device": device} if device else {}), "entity": entity, "feature": number}


class Guard:
    """The box's side of one connection: `call`, `read`, `write` return datagrams; `heard` keeps those received."""

    def __init__(self) -> None:
        self.counter = self.beats = 0
        self.heard: list[dict[str, Any]] = []
        self.beat_at: dict[str, Any] | None = None
        """Who subscribed to heartbeats."""

    def datagram(
        self, classifier: str, to: dict[str, Any], cmd: dict[str, Any], number: int = 1, **header: Any
    ) -> bytes:
        self.counter += 1
        source = feature([0] if to["entity"] == [0] else [1], 0 if to["entity"] == [0] else number, BOX)
        head = {
            "specificationVersion": "1.3.0",
            "addressSource": source,
            "addressDestination": to,
            "msgCounter": self.counter,
            **header,
            "cmdClassifier": classifier,
        }
        if classifier in ("write", "call"):
            head["ackRequest"] = True
        payload = {"cmd": [cmd]}
        return json.dumps({"datagram": wire({"header": head, "payload": payload})}).encode()

    def node(self, classifier: str, cmd: dict[str, Any], **header: Any) -> bytes:
        return self.datagram(classifier, feature([0], 0, CHARGER), cmd, **header)

    def relation(self, kind: str, server: int, kind_of: str) -> bytes:
        asked = {
            "clientAddress": feature([1], 1, BOX),
            "serverAddress": feature([1], server, CHARGER),
            "serverFeatureType": kind_of,
        }
        return self.node("call", {f"nodeManagement{kind.title()}RequestCall": {f"{kind}Request": asked}})

    def read(self, number: int, function: str) -> bytes:
        return self.datagram("read", feature([1], number, CHARGER), {function: {}})

    def limit(self, item: dict[str, Any], *, ended: bool = False, selected: int | None = None) -> bytes:
        chosen: list[dict[str, Any]] = []
        if ended:
            chosen.append(
                {
                    "cmdControl": {"delete": {}},
                    "loadControlLimitListDataSelectors": {"limitId": item["limitId"]},
                    "loadControlLimitDataElements": {"timePeriod": {}},
                }
            )
        selects = {} if selected is None else {"loadControlLimitListDataSelectors": {"limitId": selected}}
        chosen.append({"cmdControl": {"partial": {}}} | selects)
        data = {"loadControlLimitData": [item]}
        cmd = {"function": "loadControlLimitListData", "filter": chosen, "loadControlLimitListData": data}
        return self.datagram("write", feature([1], 1, CHARGER), cmd)

    def key(self, number: int, value: dict[str, Any]) -> bytes:
        data = {"deviceConfigurationKeyValueData": [{"keyId": number, "value": value}]}
        cmd = {
            "function": "deviceConfigurationKeyValueListData",
            "filter": [{"cmdControl": {"partial": {}}}],
            "deviceConfigurationKeyValueListData": data,
        }
        return self.datagram("write", feature([1], 2, CHARGER), cmd)

    def beat(self) -> bytes:
        self.beats += 1
        beat = {"timestamp": "2026-11-27T08:00:00Z", "heartbeatCounter": self.beats, "heartbeatTimeout": "PT60S"}
        return self.datagram("notify", feature([1], 6, CHARGER), {"deviceDiagnosisHeartbeatData": beat}, number=4)

    def discovery(self, reference: int) -> bytes:
        def shown(entity: list[int], number: int, kind: str, role: str, *functions: str) -> dict[str, Any]:
            return {
                "description": {
                    "featureAddress": feature(entity, number, None),
                    "featureType": kind,
                    "role": role,
                    "supportedFunction": [{"function": each, "possibleOperations": {"read": {}}} for each in functions],
                }
            }

        data = {
            "specificationVersionList": {"specificationVersion": ["1.3.0"]},
            "deviceInformation": {
                "description": {"deviceAddress": {"device": BOX}, "deviceType": "ElectricitySupplySystem"}
            },
            "entityInformation": [{"description": {"entityAddress": {"entity": [1]}, "entityType": "GridGuard"}}],
            "featureInformation": [
                shown([0], 0, "NodeManagement", "special", "nodeManagementDetailedDiscoveryData"),
                shown([1], 1, "LoadControl", "client"),
                shown([1], 4, "DeviceDiagnosis", "server", "deviceDiagnosisHeartbeatData"),
            ],
        }
        return self.node("reply", {"nodeManagementDetailedDiscoveryData": data}, msgCounterReference=reference)

    def hear(self, datagram: bytes) -> list[bytes]:
        """Take what the charger sent; return answers."""
        found = plain(json.loads(datagram))["datagram"]
        assert replaced(datagram)["datagram"] == found, "the market's reader understands the same"
        self.heard.append(found)
        header, (cmd,) = found["header"], found["payload"]["cmd"]
        if header["cmdClassifier"] == "read" and "nodeManagementDetailedDiscoveryData" in cmd:
            return [self.discovery(header["msgCounter"])]
        return []

    def last(self, function: str) -> dict[str, Any]:
        """Return the latest data of a function."""
        return next(
            each["payload"]["cmd"][0][function]
            for each in reversed(self.heard)
            if function in each["payload"]["cmd"][0] and each["header"]["cmdClassifier"] in ("reply", "notify")
        )

    def result(self, reference: int | None = None) -> int:
        """Return the errorNumber that answers a datagram, the last one by default."""
        return next(
            int(each["payload"]["cmd"][0]["resultData"]["errorNumber"])
            for each in reversed(self.heard)
            if each["header"].get("msgCounterReference") == (reference or self.counter)
            and "resultData" in each["payload"]["cmd"][0]
        )


FACTS = ChargerFacts(
    address=CHARGER,
    brand="Example",
    model="C22",
    serial="7",
    nominal_charge_w=22_000,
    nominal_discharge_w=11_000,
)
PRESET = FailsafeValues(charge_w=4200, discharge_w=1000, duration_s=7200)


class Joined:
    """A charger and a box in memory, at a time that `wait` moves."""

    def __init__(self, facts: ChargerFacts = FACTS, failsafe: FailsafeValues = PRESET) -> None:
        self.at = START
        self.facts, self.events = facts, list[Observe]()
        self.system = ControllableSystem(facts, failsafe, self.events.append, self.at)
        self.guard = Guard()
        self.link = None

    def restart(self) -> None:
        self.system = ControllableSystem(self.facts, PRESET, self.events.append, self.at, self.system.written_values)
        self.link = None

    def connect(self) -> None:
        self.guard = Guard()
        self.link = self.system.connect("ab" * 20, self.at)
        self.pass_on()
        for kind, number, what in (
            ("binding", 1, "LoadControl"),
            ("binding", 2, "DeviceConfiguration"),
            ("subscription", 1, "LoadControl"),
            ("subscription", 2, "DeviceConfiguration"),
            ("subscription", 3, "DeviceDiagnosis"),
            ("subscription", 4, "ElectricalConnection"),
            ("subscription", 5, "Measurement"),
        ):
            assert self.say(self.guard.relation(kind, number, what)) == 0

    def lose(self) -> None:
        assert self.link is not None
        self.system.disconnect(self.link)
        self.link = None

    def pass_on(self) -> None:
        assert self.link is not None
        while datagrams := self.link.take():
            for each in datagrams:
                for answer in self.guard.hear(each):
                    self.system.receive(self.link, answer, self.at)

    def say(self, datagram: bytes) -> int:
        """Send a datagram; return the errorNumber of its result."""
        assert self.link is not None
        self.system.receive(self.link, datagram, self.at)
        self.pass_on()
        return self.guard.result()

    def beat(self) -> None:
        assert self.link is not None
        self.system.receive(self.link, self.guard.beat(), self.at)
        self.pass_on()

    def wait(self, seconds: float) -> None:
        """Let time pass, with a tick at each time that the charger asks for."""
        until = self.at.s + seconds
        while True:
            step = min(max(self.system.due, self.at.s), until)
            self.at = Moment(step, self.at.utc_ms + round(1000 * (step - self.at.s)))
            self.system.tick(self.at)
            if self.link is not None:
                self.pass_on()
            if self.at.s >= until:
                return

    def read(self, number: int, function: str) -> Any:
        assert self.link is not None
        self.system.receive(self.link, self.guard.read(number, function), self.at)
        self.pass_on()
        return self.guard.last(function)
