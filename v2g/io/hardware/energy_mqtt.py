"""An energy manager on an MQTT 5 broker.

Its commands arrive at `PREFIX/set` and `PREFIX/evse/N/set`, as JSON; the charger's state is retained at `PREFIX/state`
and `PREFIX/evse/N/state`. Rejected commands are reported at `PREFIX/refused`. With `home_assistant` EVSEs appear there.
"""

import asyncio
import contextlib
from typing import Final

import msgspec

from v2g.errors import CodecError, TransportError
from v2g.hardware.energy_manager.commands import ManagedStation, Refused, Take, read_command
from v2g.home_assistant import EVSE, discovery, node_of
from v2g.io.hardware.energy_config import EnergyMqttConfig
from v2g.io.mqtt.client import MqttClient
from v2g.io.runtime.supervision import cancel_tasks, spawn
from v2g.typed_json import Fields

_ONLINE: Final = "{{ 'online' if value_json.get('online') else 'offline' }}"

MOST_REFUSALS: Final = 16
"""Limit of queued rejections; further ones are not reported."""


class MqttEnergyManager:
    """See EnergyManagerLink. Only commands published while the charger is connected count: retained or queued ones are
    of unknown age."""

    def __init__(
        self, config: EnergyMqttConfig, evses: int, take: Take, refused: Refused, client: type[MqttClient] = MqttClient
    ) -> None:
        self._prefix = prefix = config.prefix
        self._devices: dict[str, bytes] = {}
        online = {"topic": f"{prefix}/state", "value_template": _ONLINE}
        for name in (f"{prefix}/evse/{n}" for n in range(1, evses + 1)):
            if (home := config.home_assistant) is not None:
                node = node_of("evse", name)
                self._devices |= discovery(home.discovery_prefix, node, name, "EVSE", EVSE, f"{name}/state", online)
        self._places = {f"{prefix}/set": 0, **{f"{prefix}/evse/{n}/set": n for n in range(1, evses + 1)}}
        self._client = client(
            config.broker,
            on_message=self._received,
            on_connection=self._connection,
            will=(f"{prefix}/state", b'{"online":false}'),
        )
        for topic in self._places:
            self._client.subscribe(topic)
        self._state: ManagedStation | None = None
        self._published: dict[str, bytes] = {}
        self._refusals: list[bytes] = []
        self._news = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None
        self._take, self._refused = take, refused

    async def open(self) -> None:
        """See EnergyManagerLink: it connects whenever the broker is reachable."""
        self._client.start()
        self._telling = spawn(self._publish_loop(), name="energy manager")

    def notify(self, state: ManagedStation) -> None:
        self._state = state
        self._news.set()

    async def close(self) -> None:
        """See EnergyManagerLink: the charger reports its end."""
        if self._telling is not None:
            await cancel_tasks(self._telling)
            self._telling = None  # its end refers to this object, which keeps paho's sockets open
            await self._client.close(last=(f"{self._prefix}/state", b'{"online":false}'))

    def _received(self, topic: str, payload: bytes) -> None:
        if (place := self._places.get(topic)) is None:
            return
        try:
            command = read_command(payload)
            if place and command.load_w is not None:
                raise CodecError("load_w applies to the station only")
        except CodecError as error:
            self._refused(f"{topic}: {error}")
            if len(self._refusals) < MOST_REFUSALS:
                self._refusals.append(msgspec.json.encode({"topic": topic, "reason": str(error)}))
                self._news.set()
        else:
            self._take(place, command)

    def _connection(self, _connected: bool) -> None:
        self._published.clear()  # the broker may have lost it
        self._news.set()

    async def _publish_loop(self) -> None:
        while True:
            await self._news.wait()
            await self._client.connected.wait()  # else an old state would wait for the connection
            self._news.clear()
            with contextlib.suppress(TransportError):  # repeated with the next connection
                for topic, payload in self._texts().items():
                    if self._published.get(topic) != payload:
                        await self._client.publish(topic, payload, retain=True)
                        self._published[topic] = payload
                while self._refusals:  # last: the broker may permit states only
                    await self._client.publish(f"{self._prefix}/refused", self._refusals[0])
                    self._refusals.pop(0)

    def _texts(self) -> dict[str, bytes]:
        if self._state is None:
            return {}
        known = msgspec.structs.asdict(self._state).items()
        shown: Fields = {name: value for name, value in known if value is not None}
        evses = shown.pop("evses")
        texts = {f"{self._prefix}/evse/{each.evse}/state": msgspec.json.encode(each) for each in evses}
        texts[f"{self._prefix}/state"] = msgspec.json.encode({**shown, "evses": len(evses)})
        return texts | self._devices
