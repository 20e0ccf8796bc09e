"""What can go wrong, as things that chance chooses and a world does."""

import asyncio
import contextlib
import random
from typing import Literal, get_args

import msgspec

from tests.e2e.chaos.memory import Death
from tests.e2e.chaos.network import Way
from tests.e2e.chaos.world import World
from v2g.errors import V2GError
from v2g.ocpp.messages.provisioning import ResetRequest

Kind = Literal[
    "slow", "cut", "half_open", "refuse", "heal", "twice", "kill_station", "kill_back_end", "clock",
    "clock_of_back_end", "reset",
]  # fmt: skip


class Fault(msgspec.Struct, frozen=True):
    """Something goes wrong: `much` (0 to 1) says how badly, `which` how, and then `rest_s` pass."""

    kind: Kind
    much: float
    which: int
    rest_s: float


RESTS_S = (0.0, 0.05, 1.0, 7.0, 15.0, 30.0, 61.0, 200.0)


def some(chance: random.Random) -> list[Fault]:
    """Choose what goes wrong."""
    return [
        Fault(chance.choice(get_args(Kind)), chance.random(), chance.randrange(8), chance.choice(RESTS_S))
        for _ in range(chance.randint(1, 16))
    ]


JUMPS_S = (1.5, 59.0, 3600.0, 86_400.0)
WAYS: tuple[Way, ...] = ("up", "down")


async def happen(world: World, fault: Fault) -> None:
    """Let a fault happen, and its time pass."""
    weather, which = world.network.weather, fault.which
    match fault.kind:
        case "slow":
            weather.up_s, weather.down_s = (0.02 + 60 * fault.much * (each & which > 0) for each in (1, 2))
        case "cut":
            world.network.cut(near=which != 1, far=which != 2)
        case "half_open":
            weather.lost.add(WAYS[which % 2])
        case "refuse":
            weather.refuses = which % 2 == 0
        case "heal":
            world.network.heal()
        case "twice":
            weather.twice = which
        case "kill_station":
            away_ms = round(1000 + fault.much * 600_000)
            world.station.die(Death(which, written=fault.much < 0.5, power_cut=which % 2 == 1, away_ms=away_ms))
        case "kill_back_end":
            await world.back_end.kill()
            await asyncio.sleep(60 * fault.much)
            await world.back_end.start()
        case "clock" | "clock_of_back_end":
            seconds = JUMPS_S[which % 4] * (1 if which < 4 else -1)
            clock = world.clock if fault.kind == "clock" else world.back_end.clock
            clock.jump(round(seconds * 1000))
        case "reset":
            request = ResetRequest(type="Immediate" if which % 2 else "OnIdle")
            with contextlib.suppress(V2GError):
                await world.back_end.services.connections.call("CS-1", request, timeout_s=40)
    await asyncio.sleep(fault.rest_s)
