"""The gateway as a process: killed, stopped and restarted beside a program that charges on."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from evcc.checkpoints import line_of
from evcc.session.settings import ProgramStep, SessionConfig
from pki_tools.tree import PkiTree
from tests.gateway.local_source import copies, numbers, program, records, taken
from tests.gateway.program import CONFIG, supervised
from tests.patient import kept_waiting_s
from tests.proxy import Proxy
from tests.sessions.joined import Joined
from tests.telemetry.brokers import access
from tests.waiting import until
from v2g.energy.settlement.checkpoints import encode_copy
from v2g.io.runtime.event_socket import MAX_WAITING
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe
from v2g_cli.demo.broker import Broker

DAEMON = (sys.executable, "-c", "from v2g_cli.telemetry import main; main()")
"""What the installed command v2g-telemetry-daemon runs."""


@pytest.mark.requirement("R156", "R167")
async def test_a_killed_daemon_runs_again_within_5_s_and_has_lost_nothing(tmp_path: Path) -> None:
    async with program(tmp_path, stored=2) as (local, _), supervised(tmp_path, *DAEMON) as gateway:
        await gateway.until("started", 1)
        await taken(tmp_path, 2)
        os.kill(gateway.pids[0], signal.SIGKILL)
        for copy in copies([3]):
            local.publish(line_of(encode_copy(copy)))  # to nobody
        (tmp_path / "checkpoints.jsonl").write_bytes(b"".join(map(encode_copy, copies([1, 2, 3]))))
        await gateway.until("started", 2)
        took_s = gateway.events("started")[1]["t"] - gateway.ended_at[0]
        assert took_s - kept_waiting_s(gateway.pids[1]) < 5
        await taken(tmp_path, 3)
        first, second = (each["data"]["boot"] for each in gateway.events("started"))
        assert first < second
    assert sorted(await numbers(tmp_path)) == [1, 2, 3]


@pytest.mark.requirement("R29", "R167")
async def test_a_stopped_gateway_delays_no_event_and_catches_up(tmp_path: Path) -> None:
    """The program goes on at its own pace; the gateway is disconnected, comes back, and takes what is kept."""
    async with (
        program(tmp_path, stored=1) as (local, log),
        supervised(tmp_path, sys.executable, "-m", "v2g_gateway") as gateway,
    ):
        await gateway.until("started", 1)
        await taken(tmp_path, 1)
        os.kill(gateway.pids[0], signal.SIGSTOP)
        for number in range(3 * MAX_WAITING):
            log(Observe("loop", "flow", {"power_w": number, "text": "x" * 300}))
            if number % 100 == 0:
                await asyncio.sleep(0)
        assert not local.is_read
        (tmp_path / "checkpoints.jsonl").write_bytes(b"".join(map(encode_copy, copies([1, 2]))))
        os.kill(gateway.pids[0], signal.SIGCONT)
        await taken(tmp_path, 2)
    assert len(gateway.pids) == 1
    assert sorted(await numbers(tmp_path)) == [1, 2]


async def charged(pki: PkiTree, log: EventLog) -> tuple[list[float], tuple[int, ...]]:
    """Charge once; return what each turn of vehicle and charger took until its events were offered to the gateway, s,
    and the numbers of turns and of each side's actions."""
    joined = Joined(
        pki, time.time_ns() // 1_000_000, vehicle=SessionConfig(program=(ProgramStep(do="charge", energy_wh=1500),))
    )
    took, logged = list[float](), 0
    joined.start()
    while not (joined.evcc.closed and joined.secc.closed):
        begin = time.perf_counter()
        joined.advance()
        for action in joined.evcc_actions[logged:]:
            if isinstance(action, Observe):
                log(action)
        logged = len(joined.evcc_actions)
        log(Observe("metering", "reading", {"charged_wh": len(took), "discharged_wh": 0}))
        await asyncio.sleep(0)
        took.append(time.perf_counter() - begin)
    assert joined.evcc_reason == joined.secc_reason == "finished"
    return took, (len(took), logged, len(joined.secc_actions))


@pytest.mark.requirement("R93")
async def test_a_charge_loop_goes_on_as_ever_beside_a_slow_link_and_a_stopped_broker(
    pki: PkiTree, broker: Broker, tmp_path: Path
) -> None:
    """The session is timed by a clock in the hand, so it must go the same way; what its turns take is compared."""
    link = Proxy(broker.port)
    await link.start()
    mqtt = access(broker, pki, "EV-1")
    keys = "".join(f'{name} = "{getattr(mqtt, name)}"\n' for name in ("ca", "chain", "key"))
    config = CONFIG.replace("without_tls = true\n", keys).replace("port = 1\n", f"port = {link.port}\n")
    async with program(tmp_path) as (local, log):
        alone, way = await charged(pki, log)
        async with supervised(tmp_path, sys.executable, "-m", "v2g_gateway", config=config) as gateway:
            await until(lambda: local.is_read)
            log(Observe("metering", "reading", {"charged_wh": 0, "discharged_wh": 0}))
            await gateway.until("waiting", 1)
            assert "no back end is connected" in gateway.events("waiting")[0]["data"]["reason"], "it reaches the broker"
            link.late_s = 2.0
            slow, slow_way = await charged(pki, log)
            broker.process.send_signal(signal.SIGSTOP)
            try:
                stopped, stopped_way = await charged(pki, log)
            finally:
                broker.process.send_signal(signal.SIGCONT)
            assert local.is_read
            local.publish(line_of(encode_copy(copies([1])[0])))
            await taken(tmp_path, 1)  # and so all that came before it
        assert len(gateway.pids) == 1
    await link.close()
    assert way == slow_way == stopped_way
    assert len(await records(tmp_path)) > len(slow), "the gateway has taken them meanwhile"
    for took in (slow, stopped):
        assert median(took) < 2 * median(alone) + 0.005
        assert sorted(took)[len(took) * 95 // 100] < 2 * sorted(alone)[len(alone) * 95 // 100] + 0.05
