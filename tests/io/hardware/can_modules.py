"""What several tests of can modules use."""

import asyncio

import can

from tests.hardware.power_modules.bank_sim import ModuleBank
from tests.hardware.power_modules.infypower_sim import InfypowerBank
from v2g.hardware.power_modules.bank import ModulesConfig, load_database
from v2g.hardware.power_modules.infypower import InfypowerConfig
from v2g.hardware.simulation import StageLoad

BATTERY = StageLoad(400_000, contactor_closed=True, max_charge_ma=200_000, max_discharge_ma=200_000)


class Modules:
    """Modules on the other end of the bus, commanded and read by python-can alone."""

    def __init__(self, config: ModulesConfig | InfypowerConfig) -> None:
        self.bank = (
            InfypowerBank(config, load_database(None))
            if isinstance(config, InfypowerConfig)
            else ModuleBank(config, load_database(None))
        )
        self.bank.load = BATTERY
        self.bus = can.Bus(interface=config.interface, channel=config.channel)
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            now = self._loop.time()
            while (message := self.bus.recv(0)) is not None:
                self.bank.receive(message.arbitration_id, bytes(message.data), now)
            for frame_id, data in self.bank.tick(now):
                self.bus.send(can.Message(arbitration_id=frame_id, data=data, is_extended_id=frame_id > 0x7FF))
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.bus.shutdown()
