"""`v2g csms --script --official` against a station that sends what no judge expects."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.typing import Subprotocol

SCRIPT = "port: 0\nduration_s: 30\nstrict: false\nexpect: [{action: Heartbeat}]\n"


async def outcome_of(frames: list[str], folder: Path) -> tuple[int | None, dict[str, Any]]:
    """Run a script; the station sends these frames, and a heartbeat. Return exit code and report."""
    path = folder / "script.yaml"
    path.write_text(SCRIPT)
    program = Path(sys.executable).with_name("v2g")
    arguments = ("csms", "--script", str(path), "--official", "--json")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(60):
        port = 0
        while not port:
            line = await process.stderr.readline()  # at its end it returns at once: no time-out would ever be seen
            assert line, f"ended before it listened: {await process.wait()}"
            found = re.search(rb"://[^/]*:(\d+)/", line)
            port = int(found[1]) if found else 0
        url = f"ws://127.0.0.1:{port}/ocpp/CS-1"
        async with websockets.connect(url, subprotocols=[Subprotocol("ocpp2.0.1")]) as socket:
            for each in (*frames, '[2,"h","Heartbeat",{}]'):
                await socket.send(each)
            await socket.wait_closed()
        output, _ = await process.communicate()
        return process.returncode, json.loads(output)


@pytest.mark.some(1)
@pytest.mark.parametrize("frame", ["[" * 50_000, '{"no": "frame"}', '[2,"1","BootNotification",{"reason":"Boredom"}]'])
async def test_a_station_that_sends_garbage_fails_the_run(frame: str, tmp_path: Path) -> None:
    code, report = await outcome_of([frame], tmp_path)
    assert (code, report["ok"]) == (1, False)
    (wrong,) = [each for each in report["checks"] if not each["ok"]]
    assert (wrong["station"], wrong["what"]) == ("CS-1", "frames are valid by the official schemas")


async def test_a_station_that_sends_what_it_may_passes(tmp_path: Path) -> None:
    code, report = await outcome_of([], tmp_path)
    assert (code, report["ok"]) == (0, True)
