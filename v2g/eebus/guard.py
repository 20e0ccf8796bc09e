"""An energy guard: limits a controllable system by LPC or LPP, as a control box does. Pure; for the lab."""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec.structs import replace

from v2g.eebus import messages
from v2g.eebus.json_form import Element, Tag
from v2g.eebus.spine import HEARTBEAT, LocalFeature, Moment, PeerLink, SpineDevice

LIMITS: Final = "loadControlLimitListData"
KEYS: Final = "deviceConfigurationKeyValueListData"
Direction = Literal["consume", "produce"]
_ENTITY: Final = (1,)
_READ: Final[Mapping[str, tuple[str, ...]]] = {
    "LoadControl": ("loadControlLimitDescriptionListData", LIMITS),
    "DeviceConfiguration": ("deviceConfigurationKeyValueDescriptionListData", KEYS),
    "DeviceDiagnosis": (HEARTBEAT,),
    "ElectricalConnection": ("electricalConnectionCharacteristicListData",),
}
"""What is read of a controllable system, by feature."""
_BOUND: Final = ("LoadControl", "DeviceConfiguration")


class EnergyGuard(SpineDevice):
    """The guard's side. It is `silent` until told otherwise: then heartbeats are sent by `beat` only."""

    def __init__(self, address: str, at: Moment) -> None:
        clients = ("LoadControl", "DeviceConfiguration", "ElectricalConnection", "DeviceDiagnosis")
        features = [
            LocalFeature(at=(_ENTITY, number), type=each, role="client") for number, each in enumerate(clients, 1)
        ]
        features.append(LocalFeature(at=(_ENTITY, 5), type="DeviceDiagnosis", data={HEARTBEAT: Element()}))
        names = ("limitationOfPowerConsumption", "limitationOfPowerProduction")
        cases = tuple(
            messages.UseCase(
                use_case_name=name,
                use_case_version="1.0.0",
                use_case_available=True,
                scenario_support=(1, 2, 3, 4),
                use_case_document_sub_revision="release",
            )
            for name in names
        )
        offered = messages.UseCaseInformation(
            address=messages.Address(device=address, entity=_ENTITY), actor="EnergyGuard", use_case_support=cases
        )
        entities: dict[tuple[int, ...], str] = {(0,): "DeviceInformation", _ENTITY: "GridGuard"}
        super().__init__(address, "ElectricitySupplySystem", entities, features, (offered,), at)
        self.silent = True
        self.data: dict[str, Element] = {}
        """The latest data of the system, by function."""
        self.beats: list[float] = []
        """When its heartbeats came, s."""
        self.results: dict[int, messages.Result] = {}
        """Results by the counter of what they answer."""
        self._servers: dict[str, messages.Address] = {}

    @property
    def due(self) -> float:
        return float("inf") if self.silent else super().due

    def tick(self, at: Moment) -> None:
        if not self.silent:
            super().tick(at)

    def beat(self, at: Moment) -> None:
        """Send a heartbeat now."""
        self._beat(at)

    def related(self, _link: PeerLink, _feature: LocalFeature, *, binds: bool, at: Moment) -> None:
        """See SpineDevice: a silent guard is silent, also at the beginning."""
        if not self.silent:
            super().related(_link, _feature, binds=binds, at=at)

    def discovered(self, link: PeerLink, at: Moment) -> None:
        """Bind and subscribe the system's features, and read them."""
        entity = next(
            (
                each.feature_address.entity
                for each in link.features
                if each.feature_type == "LoadControl" and each.role == "server" and each.feature_address is not None
            ),
            None,
        )
        for each in link.features:
            address, kind = each.feature_address, each.feature_type or ""
            if address is None or address.entity != entity or each.role != "server" or kind not in _READ:
                continue
            self._servers[kind] = server = replace(address, device=link.device)
            relation = messages.Relation(
                client_address=self._client(kind), server_address=server, server_feature_type=kind
            )
            self.call(link, "subscription", relation)
            if kind in _BOUND:
                self.call(link, "binding", relation)
            for function in _READ[kind]:
                link.send("read", self._client(kind), server, messages.command(function))

    def read_again(self, link: PeerLink, kind: str) -> None:
        """Read a feature's data anew; what was known is forgotten."""
        function = _READ[kind][-1]
        self.data.pop(function, None)
        link.send("read", self._client(kind), self._servers[kind], messages.command(function))

    def write_limit(self, link: PeerLink, limit: messages.Limit, *, end_duration: bool = False) -> int:
        """Write a limit in part, and perhaps delete its duration; return the counter of the write."""
        chosen = [messages.Filter(cmd_control=messages.Control(partial=Tag()))]
        if end_duration:
            chosen.insert(
                0,
                messages.Filter(
                    cmd_control=messages.Control(delete=Tag()),
                    load_control_limit_list_data_selectors=messages.LimitSelector(limit_id=limit.limit_id),
                    load_control_limit_data_elements=messages.LimitTags(time_period=Tag()),
                ),
            )
        cmd = replace(
            messages.command(LIMITS, messages.LimitList(load_control_limit_data=(limit,))),
            function=LIMITS,
            filter=tuple(chosen),
        )
        return link.send("write", self._client("LoadControl"), self._servers["LoadControl"], cmd, ack=True)

    def write_key(self, link: PeerLink, number: int, value: messages.KeyValue) -> int:
        """Write a failsafe value; return the counter of the write."""
        item = messages.ConfigurationValue(key_id=number, value=value)
        chosen = (messages.Filter(cmd_control=messages.Control(partial=Tag())),)
        data = messages.ConfigurationList(device_configuration_key_value_data=(item,))
        cmd = replace(messages.command(KEYS, data), function=KEYS, filter=chosen)
        kind = "DeviceConfiguration"
        return link.send("write", self._client(kind), self._servers[kind], cmd, ack=True)

    def informed(self, _link: PeerLink, _header: messages.Header, cmd: messages.Cmd, at: Moment) -> None:
        if cmd.data is not None:
            self.data[cmd.name] = cmd.data
        if cmd.name == HEARTBEAT:
            self.beats.append(at.s)

    def answered(self, _link: PeerLink, header: messages.Header, result: messages.Result, _at: Moment) -> None:
        if header.msg_counter_reference is not None:
            self.results[header.msg_counter_reference] = result

    def _client(self, kind: str) -> messages.Address:
        number = next(
            place for (_, place), each in self.features.items() if each.type == kind and each.role == "client"
        )
        return messages.Address(device=self.address, entity=_ENTITY, feature=number)


def limit_of(
    number: int, *, watts: float | None = None, active: bool | None = None, lasts_s: int | None = None
) -> messages.Limit:
    """Return a limit to be written, of what is given; `watts` with its sign on the wire."""
    return messages.Limit(
        limit_id=number,
        is_limit_active=active,
        time_period=None if lasts_s is None else messages.TimePeriod(end_time=f"PT{lasts_s}S"),
        value=None if watts is None else messages.scaled(watts),
    )
