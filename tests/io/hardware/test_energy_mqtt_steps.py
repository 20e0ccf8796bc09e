"""An energy manager's messages over MQTT, step by step: what is taken, refused and published, and when again."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from tests.virtual_time import in_simulated_time, simulated
from v2g.errors import TransportError
from v2g.hardware.energy_manager.commands import EnergyCommand, ManagedEvse, ManagedStation
from v2g.io.hardware.energy_config import EnergyMqttConfig
from v2g.io.hardware.energy_mqtt import MOST_REFUSALS, MqttEnergyManager
from v2g.io.mqtt.client import MqttClient
from v2g.io.mqtt.config import MqttConfig

BROKER = MqttConfig(host="broker")
OFFLINE = ("site/state", {"online": False})


class Broker(MqttClient):
    """A client that is the broker, too, and notes what is published there."""

    def __init__(
        self,
        config: MqttConfig,
        *,
        on_message: Callable[[str, bytes], None],
        on_connection: Callable[[bool], None],
        will: tuple[str, bytes],
        **_: Any,
    ) -> None:
        self.config, self.will = config, (will[0], json.loads(will[1]))
        self.message, self.switched = on_message, on_connection
        self.connected = asyncio.Event()
        self.topics: list[str] = []
        self.seen: list[tuple[str, Any, bool]] = []
        self.started, self.denied = 0, ""

    def subscribe(self, topic: str) -> None:
        self.topics.append(topic)

    def start(self) -> None:
        self.started += 1

    def connect(self) -> None:
        self.connected.set()
        self.switched(True)  # noqa: FBT003

    def lose(self) -> None:
        self.connected.clear()
        self.switched(False)  # noqa: FBT003

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, **_: Any) -> bool:
        await self.connected.wait()
        await asyncio.sleep(1)
        if topic == self.denied or not self.connected.is_set():
            raise TransportError("MQTT: not published")
        self.seen.append((topic, json.loads(payload), retain))
        return True

    async def close(self, *, last: tuple[str, bytes] | None = None) -> None:
        assert last is not None
        self.seen.append((last[0], json.loads(last[1]), True))

    def news(self) -> list[tuple[str, Any, bool]]:
        """Return what was published since the last call."""
        found, self.seen = self.seen, []
        return found


class Charger:
    """The link of a charger with two EVSEs, and what it has taken and refused."""

    def __init__(self) -> None:
        self.taken: list[tuple[int, EnergyCommand]] = []
        self.refused: list[str] = []
        config = EnergyMqttConfig(broker=BROKER, prefix="site")
        self.link = MqttEnergyManager(config, 2, self._take, self.refused.append, self._client)

    def _client(self, *arguments: Any, **keywords: Any) -> Broker:
        self.broker = Broker(*arguments, **keywords)
        return self.broker

    def _take(self, evse_id: int, command: EnergyCommand) -> None:
        self.taken.append((evse_id, command))

    def state(self, *powers_w: int) -> None:
        evses = (ManagedEvse(evse=n, status="Occupied", power_w=each) for n, each in enumerate(powers_w, 1))
        self.link.notify(ManagedStation(evses=tuple(evses)))

    async def passes(self, seconds: float = 60.0) -> list[tuple[str, Any, bool]]:
        await asyncio.sleep(seconds)
        return self.broker.news()


def play(scene: Callable[[Charger], Coroutine[Any, Any, None]], *, connected: bool = True) -> None:
    async def scenario() -> None:
        charger = Charger()
        await charger.link.open()
        if connected:
            charger.broker.connect()
        await scene(charger)
        await charger.link.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    in_simulated_time(scenario())


def of(found: list[tuple[str, Any, bool]]) -> list[tuple[str, int | None]]:
    """Return topics and powers."""
    assert all(retained for *_, retained in found)
    return [(topic, state.get("power_w")) for topic, state, _ in found]


def test_it_connects_when_it_is_opened_and_says_when_it_ends() -> None:
    async def scene(charger: Charger) -> None:
        broker = charger.broker
        assert (broker.config, broker.will, broker.started) == (BROKER, OFFLINE, 1)
        assert broker.topics == ["site/set", "site/evse/1/set", "site/evse/2/set"]
        assert await charger.passes() == []
        charger.state(1)
        await charger.passes()
        await charger.link.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert broker.news() == [(*OFFLINE, True)]
        charger.state(2)
        await charger.link.close()
        assert await charger.passes() == []

    play(scene)


@simulated
async def test_one_that_was_never_opened_says_nothing_at_its_end() -> None:
    charger = Charger()
    await charger.link.close()
    assert charger.broker.news() == []


def test_commands_are_taken_at_their_places() -> None:
    async def scene(charger: Charger) -> None:
        for topic, power_w in (("site/set", 1), ("site/evse/2/set", 2), ("site/evse/3/set", 3), ("site/state", 4)):
            charger.broker.message(topic, b'{"limit_w": %d}' % power_w)
        charger.broker.message("site/set", b'{"load_w": 5}')
        commands = (EnergyCommand(limit_w=1), EnergyCommand(limit_w=2), EnergyCommand(load_w=5))
        assert charger.taken == list(zip((0, 2, 0), commands, strict=True))
        assert (charger.refused, await charger.passes()) == ([], [])

    play(scene)


@pytest.mark.parametrize(
    ("payload", "said"),
    [(b'{"load_w": 5}', "load_w applies to the station only"), (b'{"limit_w": -1}', "limit_w"), (b"\xff", "")],
)
def test_what_is_refused_is_reported_once(payload: bytes, said: str) -> None:
    async def scene(charger: Charger) -> None:
        charger.broker.message("site/evse/1/set", payload)
        ((topic, report, retained),) = await charger.passes()
        assert (topic, report["topic"], retained) == ("site/refused", "site/evse/1/set", False)
        assert said in report["reason"]
        assert charger.refused == [f"site/evse/1/set: {report['reason']}"]
        assert (charger.taken, await charger.passes()) == ([], [])

    play(scene)


def test_a_number_of_refusals_waits_for_a_connection() -> None:
    async def scene(charger: Charger) -> None:
        for number in range(MOST_REFUSALS + 4):
            charger.broker.message("site/set", b'{"%d": 1}' % number)
        assert len(charger.refused) == 20
        charger.broker.connect()
        found = await charger.passes()
        assert [report["reason"] for _, report, _ in found] == [
            each.removeprefix("site/set: ") for each in charger.refused[:16]
        ]
        charger.broker.message("site/set", b"")
        assert len(await charger.passes()) == 1

    play(scene, connected=False)


def test_only_what_has_changed_is_published() -> None:
    async def scene(charger: Charger) -> None:
        charger.state(5, 7)
        assert await charger.passes() == [
            ("site/evse/1/state", msgspec.to_builtins(ManagedEvse(evse=1, status="Occupied", power_w=5)), True),
            ("site/evse/2/state", msgspec.to_builtins(ManagedEvse(evse=2, status="Occupied", power_w=7)), True),
            ("site/state", {"online": True, "heard": False, "timeout_s": 0, "evses": 2}, True),
        ]
        charger.state(5, 8)
        assert of(await charger.passes()) == [("site/evse/2/state", 8)]
        charger.state(5, 8)
        assert await charger.passes() == []

    play(scene)


def test_with_each_connection_everything_is_published_as_it_is_then() -> None:
    async def scene(charger: Charger) -> None:
        charger.state(5)
        await charger.passes()
        charger.broker.lose()
        for power_w in (6, 7):
            charger.state(power_w)
            assert await charger.passes() == []
        charger.broker.connect()
        assert of(await charger.passes()) == [("site/evse/1/state", 7), ("site/state", None)]
        charger.broker.lose()
        assert await charger.passes() == []
        charger.broker.connect()
        assert of(await charger.passes()) == [("site/evse/1/state", 7), ("site/state", None)]

    play(scene)


def test_what_was_lost_with_the_connection_comes_with_the_next_one() -> None:
    async def scene(charger: Charger) -> None:
        charger.state(5)
        assert of(await charger.passes(1.5)) == [("site/evse/1/state", 5)]
        charger.broker.lose()
        assert await charger.passes() == []
        charger.broker.connect()
        assert of(await charger.passes()) == [("site/evse/1/state", 5), ("site/state", None)]
        charger.broker.message("site/set", b"")
        await charger.passes(0.5)
        charger.broker.lose()
        await charger.passes()
        charger.broker.connect()
        assert [topic for topic, *_ in await charger.passes()][-1] == "site/refused"

    play(scene)


def test_a_broker_that_permits_states_only_gets_them() -> None:
    async def scene(charger: Charger) -> None:
        charger.broker.denied = "site/refused"
        charger.broker.message("site/set", b"")
        await charger.passes()
        for power_w in (5, 6):
            charger.state(power_w)
            assert ("site/evse/1/state", power_w) in of(await charger.passes())

    play(scene)


def test_the_limits_of_its_configuration() -> None:
    assert EnergyMqttConfig(broker=BROKER).prefix == "v2g/charger"
    for prefix in ("a", "a" * 200):
        assert msgspec.convert({"broker": BROKER, "prefix": prefix}, EnergyMqttConfig).prefix == prefix
    for prefix in ("", "/a", "a#", "a+", "a\x00", "a" * 201):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"broker": BROKER, "prefix": prefix}, EnergyMqttConfig)
