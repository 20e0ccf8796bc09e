"""Runs pyslac as a charger on one interface; started by its own interpreter, see test_slac_peer.py.

It prints one JSON line when its modem has a key, and one when it has matched. Its pause after each new key (10 s) is
left out: the simulated modem needs none.
"""

import asyncio
import json
import sys

from pyslac import session
from pyslac.enums import STATE_MATCHED
from pyslac.environment import Config

from tests.waiting import until

session.SLAC_SETTLE_TIME = 0


def tell(what: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(interface: str) -> None:
    config = Config()
    config.load_envs()
    charger = session.SlacEvseSession("DE*PEER*E1", interface, config)
    await charger.evse_set_key()
    controller = session.SlacSessionController()
    await controller.process_cp_state(charger, "B")
    tell({"nid": charger.nid.hex()})
    await until(lambda: charger.state == STATE_MATCHED)
    told = {
        "nid": charger.nid.hex(),
        "nmk": charger.nmk.hex(),
        "pev_mac": charger.pev_mac.hex(),
        "run_id": charger.run_id.hex(),
    }
    tell(told)


asyncio.run(main(sys.argv[1]))
