"""Runs in the peer's environment: its vehicle, one session for each line of standard input, with so many loops.

python repeated_vehicle.py SETTINGS.json
"""

import asyncio
import os
import sys

results = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # its log goes to standard output

from iso15118.evcc import Config, EVCCHandler  # noqa: E402
from iso15118.evcc.controller.simulator import SimEVController  # noqa: E402
from iso15118.evcc.evcc_config import load_from_file  # noqa: E402
from iso15118.shared.exificient_exi_codec import ExificientEXICodec  # noqa: E402

SESSION_S = 60


async def main(settings: str) -> None:
    """Serve the input; after each session print how it ended."""
    config = Config()
    config.load_envs()
    codec = ExificientEXICodec()
    while line := await asyncio.to_thread(sys.stdin.readline):
        vehicle = await load_from_file(settings)
        vehicle.charge_loop_cycle = int(line)
        try:
            handler = EVCCHandler(
                evcc_config=vehicle, iface=config.iface, exi_codec=codec, ev_controller=SimEVController(vehicle)
            )
            await asyncio.wait_for(handler.start(), SESSION_S)  # a session that failed never ends by itself
            ended = "finished"
        except (OSError, TimeoutError) as error:
            ended = type(error).__name__
        results.write(ended + "\n")
        results.flush()


asyncio.run(main(sys.argv[1]))
