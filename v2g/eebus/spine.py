"""A device of SPINE 1.3: its features, what peers read, subscribe to, bind and write, and what it asks of them. Pure.

Node management is feature 0 of entity 0. A write needs a binding; bindings and subscriptions end with the connection.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from v2g.eebus.json_form import Element, Tag, decode, encode
from v2g.eebus.messages import (
    GENERAL,
    NEEDS_BINDING,
    NOT_SUPPORTED,
    OK,
    REJECTED,
    UNKNOWN_DESTINATION,
    VERSION,
    Address,
    BindingData,
    BindingEntry,
    BindingRequest,
    Classifier,
    Cmd,
    Datagram,
    DatagramMessage,
    Destination,
    DestinationList,
    DetailedDiscovery,
    DeviceDescription,
    DeviceInformation,
    EntityDescription,
    EntityInformation,
    FeatureDescription,
    FeatureInformation,
    Header,
    HeaderMessage,
    Heartbeat,
    Operation,
    Operations,
    Payload,
    Relation,
    Result,
    SubscriptionData,
    SubscriptionEntry,
    SubscriptionRequest,
    Supported,
    UseCaseData,
    UseCaseInformation,
    VersionList,
    command,
)
from v2g.errors import CodecError

MOST_RELATIONS: Final = 64
"""Limit of a peer's subscriptions, and of its bindings."""
MOST_FEATURES: Final = 256
"""Limit of a peer's features that are kept."""
BEAT_S: Final = 50.0
"""Interval of heartbeats; at most 60 s are allowed (006, 007)."""
DISCOVERY_S: Final = 30.0
"""A peer that does not answer the first question for so long is useless."""

NODE: Final = Address(entity=(0,), feature=0)
_CALLS: Final = (
    "nodeManagementSubscriptionRequestCall",
    "nodeManagementSubscriptionDeleteCall",
    "nodeManagementBindingRequestCall",
    "nodeManagementBindingDeleteCall",
)
_NODE_DATA: Final = (
    "nodeManagementDetailedDiscoveryData",
    "nodeManagementUseCaseData",
    "nodeManagementSubscriptionData",
    "nodeManagementBindingData",
    "nodeManagementDestinationListData",
)
HEARTBEAT: Final = "deviceDiagnosisHeartbeatData"


class Moment(NamedTuple):
    """Now: s, monotonic; and ms of UTC."""

    s: float
    utc_ms: int

    @property
    def text(self) -> str:
        """The time as RFC 3339."""
        when = datetime.fromtimestamp(self.utc_ms / 1000, UTC)
        return f"{when:%Y-%m-%dT%H:%M:%S}.{self.utc_ms % 1000:03}Z"


class LocalFeature(msgspec.Struct, kw_only=True):
    """A feature of the device: its address, what may be read, by function, and written."""

    at: tuple[tuple[int, ...], int]
    type: str
    role: Literal["server", "client", "special"] = "server"
    data: dict[str, Element] = {}
    writable: tuple[str, ...] = ()
    one_binding: bool = False
    """Whether only one client may be bound at a time."""

    def description(self, device: str) -> FeatureInformation:
        """Return its entry of the discovery data."""
        partial = Operation(partial=Tag())
        operations = {
            each: Operations(read=Operation(), write=partial if each in self.writable else None) for each in self.data
        }
        if self.role == "special":
            operations |= dict.fromkeys(_CALLS, Operations())
        entity, feature = self.at
        return FeatureInformation(
            description=FeatureDescription(
                feature_address=Address(device=device, entity=entity, feature=feature),
                feature_type=self.type,
                role=self.role,
                supported_function=tuple(
                    Supported(function=name, possible_operations=each) for name, each in operations.items()
                )
                or None,
            )
        )


class PeerLink:
    """A connected peer: send `take()`."""

    def __init__(self, ski: str, now: float) -> None:
        self.ski: Final = ski
        self.device: str | None = None
        """Its address; None before the discovery."""
        self.features: tuple[FeatureDescription, ...] = ()
        self.subscriptions: list[Relation] = []
        self.bindings: list[Relation] = []
        self.since = now
        self.asked_at: float | None = None
        """When heartbeats were last asked for."""
        self.heard_at = now
        """When the last one was received."""
        self.counter = 0
        self._out: list[bytes] = []

    def take(self) -> list[bytes]:
        """Return datagrams to send, JSON."""
        datagrams, self._out = self._out, []
        return datagrams

    def send(
        self,
        classifier: Classifier,
        source: Address,
        destination: Address,
        cmd: Cmd,
        *,
        reference: int | None = None,
        ack: bool = False,
    ) -> int:
        """Send a command; return its counter."""
        self.counter += 1
        header = Header(
            specification_version=VERSION,
            address_source=source,
            address_destination=destination,
            msg_counter=self.counter,
            msg_counter_reference=reference,
            cmd_classifier=classifier,
            ack_request=True if ack else None,
        )
        self._out.append(encode(DatagramMessage(datagram=Datagram(header=header, payload=Payload(cmd=(cmd,))))))
        return self.counter


class Refusal(NamedTuple):
    """Why a command is refused."""

    number: int
    text: str = ""


class SpineDevice:
    """A device with features; a use case's side overrides the methods `discovered`, `informed`, `written`, `answered`.

    `entities`: address to type; the first is [0], DeviceInformation.
    """

    def __init__(
        self,
        address: str,
        kind: str,
        entities: Mapping[tuple[int, ...], str],
        features: Sequence[LocalFeature],
        use_cases: tuple[UseCaseInformation, ...],
        at: Moment,
    ) -> None:
        self.address: Final = address
        self._description = DeviceDescription(
            device_address=Address(device=address), device_type=kind, network_feature_set="smart"
        )
        self._entities = entities
        node = LocalFeature(
            at=((0,), 0), type="NodeManagement", role="special", data={each: Element() for each in _NODE_DATA}
        )
        self.features: Final = {each.at: each for each in (node, *features)}
        self._use_cases = use_cases
        self.links: Final[list[PeerLink]] = []
        self._beats = [each for each in features if HEARTBEAT in each.data]
        self._beat_at, self._beat_count = at.s, 0

    def connect(self, ski: str, at: Moment) -> PeerLink:
        """Return a new peer, which is asked what it is."""
        link = PeerLink(ski, at.s)
        self.links.append(link)
        link.send("read", self.full(NODE), NODE, command("nodeManagementDetailedDiscoveryData"))
        return link

    def disconnect(self, link: PeerLink) -> None:
        """Forget a peer, with its subscriptions and bindings."""
        if link in self.links:
            self.links.remove(link)

    def full(self, address: Address) -> Address:
        """Return an own address with the device."""
        return replace(address, device=self.address)

    @property
    def due(self) -> float:
        """When `tick` is needed."""
        return self._beat_at

    def tick(self, at: Moment) -> None:
        """Process the time: send heartbeats."""
        if at.s >= self._beat_at:
            self._beat(at)

    def _beat(self, at: Moment) -> None:
        self._beat_at, self._beat_count = at.s + BEAT_S, self._beat_count + 1
        beat = Heartbeat(timestamp=at.text, heartbeat_counter=self._beat_count, heartbeat_timeout="PT60S")
        for feature in self._beats:
            self.put(feature, HEARTBEAT, beat)

    def put(self, feature: LocalFeature, function: str, data: Element) -> None:
        """Set data, and notify subscribers."""
        feature.data[function] = data
        entity, number = feature.at
        source = Address(device=self.address, entity=entity, feature=number)
        for link in self.links:
            for each in link.subscriptions:
                if each.server_address is not None and each.server_address.local == feature.at:
                    assert each.client_address is not None
                    link.send("notify", source, each.client_address, command(function, data))

    def call(self, link: PeerLink, request: Literal["subscription", "binding"], relation: Relation) -> None:
        """Ask a peer for a subscription to, or a binding of, one of its features."""
        if request == "subscription":
            cmd = command("nodeManagementSubscriptionRequestCall", SubscriptionRequest(subscription_request=relation))
        else:
            cmd = command("nodeManagementBindingRequestCall", BindingRequest(binding_request=relation))
        link.send("call", self.full(NODE), replace(NODE, device=link.device), cmd, ack=True)

    def receive(self, link: PeerLink, payload: bytes, at: Moment) -> None:
        """Process a datagram. Raises CodecError for one without a readable header."""
        try:
            datagram = decode(payload, DatagramMessage).datagram
        except CodecError as error:
            header = decode(payload, HeaderMessage).datagram.header
            if header.cmd_classifier in ("read", "write", "call"):
                self._result(link, header, Refusal(GENERAL, str(error)[:100]))
            return
        header = datagram.header
        for cmd in datagram.payload.cmd:
            self._take(link, header, cmd, at)

    def _take(self, link: PeerLink, header: Header, cmd: Cmd, at: Moment) -> None:
        if header.cmd_classifier == "result":
            self.answered(link, header, cmd.result_data or Result(), at)
            return
        feature = self.features.get(header.address_destination.local)
        if header.address_destination.device not in (None, "", self.address) or feature is None:
            refusal = Refusal(UNKNOWN_DESTINATION, "no such feature")
        elif not cmd.name:
            refusal = Refusal(NOT_SUPPORTED, "unknown function")
        else:
            refusal = self._perform(link, header, feature, cmd, at)
        must = header.cmd_classifier == "read" and refusal.number != OK
        if must or (header.ack_request and header.cmd_classifier in ("notify", "write", "call")):
            self._result(link, header, refusal)

    def _perform(self, link: PeerLink, header: Header, feature: LocalFeature, cmd: Cmd, at: Moment) -> Refusal:
        match header.cmd_classifier:
            case "read":
                if cmd.name not in feature.data:
                    return Refusal(NOT_SUPPORTED, "unknown function")
                answer = command(cmd.name, self.read(feature, cmd.name, at))
                entity, number = feature.at
                source = Address(device=self.address, entity=entity, feature=number)
                link.send("reply", source, header.address_source, answer, reference=header.msg_counter)
            case "write":
                if cmd.name not in feature.writable:
                    return Refusal(NOT_SUPPORTED, "not writable")
                if not any(
                    each.server_address is not None
                    and each.server_address.local == feature.at
                    and each.client_address is not None
                    and each.client_address.local == header.address_source.local
                    for each in link.bindings
                ):
                    return Refusal(NEEDS_BINDING, "no binding")
                return self.written(link, cmd, at)
            case "call":
                return self._called(link, header, cmd, at)
            case "reply" | "notify":
                self._informed(link, header, cmd, at)
        return Refusal(OK)

    def _result(self, link: PeerLink, header: Header, refusal: Refusal) -> None:
        result = Result(error_number=refusal.number, description=refusal.text or None)
        source = self.full(header.address_destination)
        link.send("result", source, header.address_source, Cmd(result_data=result), reference=header.msg_counter)

    def read(self, feature: LocalFeature, function: str, _at: Moment) -> Element:
        """Return a function's data."""
        if feature.role != "special":
            return feature.data[function]
        match function:
            case "nodeManagementDetailedDiscoveryData":
                return DetailedDiscovery(
                    specification_version_list=VersionList(specification_version=(VERSION,)),
                    device_information=DeviceInformation(description=self._description),
                    entity_information=tuple(
                        EntityInformation(
                            description=EntityDescription(
                                entity_address=Address(device=self.address, entity=entity), entity_type=kind
                            )
                        )
                        for entity, kind in self._entities.items()
                    ),
                    feature_information=tuple(each.description(self.address) for each in self.features.values()),
                )
            case "nodeManagementUseCaseData":
                return UseCaseData(use_case_information=self._use_cases)
            case "nodeManagementSubscriptionData":
                shown = [each for link in self.links for each in link.subscriptions]
                return SubscriptionData(
                    subscription_entry=tuple(
                        SubscriptionEntry(
                            subscription_id=number,
                            client_address=each.client_address,
                            server_address=each.server_address,
                        )
                        for number, each in enumerate(shown)
                    )
                    or None
                )
            case "nodeManagementBindingData":
                shown = [each for link in self.links for each in link.bindings]
                return BindingData(
                    binding_entry=tuple(
                        BindingEntry(
                            binding_id=number, client_address=each.client_address, server_address=each.server_address
                        )
                        for number, each in enumerate(shown)
                    )
                    or None
                )
        return DestinationList(node_management_destination_data=(Destination(device_description=self._description),))

    def _called(self, link: PeerLink, header: Header, cmd: Cmd, at: Moment) -> Refusal:
        if (subscribe := cmd.node_management_subscription_request_call) is not None:
            return self._relate(link, header, subscribe.subscription_request, link.subscriptions, at)
        if (bind := cmd.node_management_binding_request_call) is not None:
            return self._relate(link, header, bind.binding_request, link.bindings, at)
        if (unsubscribe := cmd.node_management_subscription_delete_call) is not None:
            return _end(unsubscribe.subscription_delete, link.subscriptions)
        if (unbind := cmd.node_management_binding_delete_call) is not None:
            return _end(unbind.binding_delete, link.bindings)
        return Refusal(NOT_SUPPORTED, "no call")

    def _relate(
        self, link: PeerLink, header: Header, asked: Relation | None, relations: list[Relation], at: Moment
    ) -> Refusal:
        if asked is None or asked.server_address is None or asked.client_address is None:
            return Refusal(GENERAL, "addresses are missing")
        feature = self.features.get(asked.server_address.local)
        if feature is None or asked.server_address.device not in (None, "", self.address):
            return Refusal(UNKNOWN_DESTINATION, "no such feature")
        if feature.role == "client" or asked.server_feature_type not in (None, feature.type):
            return Refusal(REJECTED, "not a server of this type")
        client = asked.client_address
        if client.device is None:
            client = replace(client, device=header.address_source.device or link.device)
        entity, number = feature.at
        server = Address(device=self.address, entity=entity, feature=number)
        relation = Relation(client_address=client, server_address=server)
        binds = relations is link.bindings
        if binds and not feature.writable:
            return Refusal(REJECTED, "nothing to bind")
        if binds and feature.one_binding and relation not in relations and (holder := self.bound(feature)) is not None:
            if holder is link or holder.ski != link.ski:
                return Refusal(REJECTED, "another client is bound")
            holder.bindings.clear()  # its older connection is about to end
        if len(relations) >= MOST_RELATIONS:
            return Refusal(REJECTED, "too many")
        if relation not in relations:
            relations.append(relation)
            self.related(link, feature, binds=binds, at=at)
        return Refusal(OK)

    def bound(self, feature: LocalFeature) -> PeerLink | None:
        return next(
            (
                link
                for link in self.links
                for each in link.bindings
                if each.server_address is not None and each.server_address.local == feature.at
            ),
            None,
        )

    def _informed(self, link: PeerLink, header: Header, cmd: Cmd, at: Moment) -> None:
        if (found := cmd.node_management_detailed_discovery_data) is not None:
            first = link.device is None
            link.device = header.address_source.device or _device_of(found) or link.device
            features = tuple(each.description for each in found.feature_information or () if each.description)
            link.features = (link.features + features if cmd.filter else features)[-MOST_FEATURES:]
            if first and link.device is not None:
                relation = Relation(
                    client_address=self.full(NODE),
                    server_address=replace(NODE, device=link.device),
                    server_feature_type="NodeManagement",
                )
                self.call(link, "subscription", relation)
                link.send(
                    "read", self.full(NODE), replace(NODE, device=link.device), command("nodeManagementUseCaseData")
                )
            if link.device is not None:
                self.discovered(link, at)
        elif cmd.node_management_use_case_data is None:
            self.informed(link, header, cmd, at)

    def follow_heartbeats(self, link: PeerLink, client: Address, at: Moment) -> None:
        """Subscribe to, and read, the heartbeats of a peer, as one of our features."""
        link.asked_at = at.s
        for each in link.features:
            functions = [one.function for one in each.supported_function or ()]
            beats = not functions or HEARTBEAT in functions  # some list no functions
            if each.feature_type == "DeviceDiagnosis" and each.role == "server" and beats:
                server = replace(each.feature_address or Address(), device=link.device)
                relation = Relation(client_address=client, server_address=server, server_feature_type="DeviceDiagnosis")
                self.call(link, "subscription", relation)
                link.send("read", client, server, command(HEARTBEAT))

    def related(self, _link: PeerLink, feature: LocalFeature, *, binds: bool, at: Moment) -> None:
        """A peer has subscribed to, or bound, a feature: heartbeats begin at once."""
        if not binds and feature in self._beats:
            self._beat(at)

    def discovered(self, link: PeerLink, at: Moment) -> None:
        """The features of a peer are known."""

    def informed(self, link: PeerLink, header: Header, cmd: Cmd, at: Moment) -> None:
        """A peer replied or notified."""

    def answered(self, link: PeerLink, header: Header, result: Result, at: Moment) -> None:
        """A peer sent the result of a command."""

    def written(self, _link: PeerLink, _cmd: Cmd, _at: Moment) -> Refusal:
        """A peer writes. Return whether it may."""
        return Refusal(NOT_SUPPORTED)


def _device_of(found: DetailedDiscovery) -> str | None:
    description = found.device_information and found.device_information.description
    return description.device_address.device if description and description.device_address else None


def _end(asked: Relation | None, relations: list[Relation]) -> Refusal:
    """End what matches the given addresses, without their devices."""
    if asked is None:
        return Refusal(GENERAL, "addresses are missing")
    client, server = asked.client_address, asked.server_address
    left = [
        each
        for each in relations
        if (client is not None and each.client_address is not None and each.client_address.local != client.local)
        or (server is not None and each.server_address is not None and each.server_address.local != server.local)
    ]
    if len(left) == len(relations):
        return Refusal(GENERAL, "there is none")
    relations[:] = left
    return Refusal(OK)
