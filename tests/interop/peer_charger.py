"""Runs in the peer's environment: its charger, with an output that ordinary batteries fit.

In ISO 15118-2 and DIN 70121 the stock controller's output is from 40 V to 40 V, and always shows 1 V. This one's
follows the vehicle's targets at once.

    python peer_charger.py
"""

import asyncio

from iso15118.secc import SECCHandler
from iso15118.secc.controller.interface import ServiceStatus
from iso15118.secc.controller.simulator import SimEVSEController
from iso15118.secc.secc_settings import Config
from iso15118.shared.exificient_exi_codec import ExificientEXICodec
from iso15118.shared.messages.datatypes import PVEVSEMaxVoltageLimit, PVEVSEMinCurrentLimit, PVEVSEMinVoltageLimit


class Controller(SimEVSEController):
    """See above."""

    async def get_dc_charge_parameters(self):
        """150 V to 500 V."""
        stock = await super().get_dc_charge_parameters()
        return stock.copy(
            update={
                "evse_maximum_voltage_limit": PVEVSEMaxVoltageLimit(multiplier=0, value=500, unit="V"),
                "evse_minimum_voltage_limit": PVEVSEMinVoltageLimit(multiplier=0, value=150, unit="V"),
                "evse_minimum_current_limit": PVEVSEMinCurrentLimit(multiplier=0, value=0, unit="A"),
            }
        )

    async def send_charging_command(self, voltage, current, is_precharge=False, is_session_bpt=False):
        """Follow the targets; during pre-charge there is no current."""
        self.evse_data_context.present_voltage = voltage
        self.evse_data_context.present_current = 0 if is_precharge else current


async def main():
    """Serve vehicles."""
    config = Config()
    config.load_envs()
    controller = Controller()
    await controller.set_status(ServiceStatus.STARTING)
    await SECCHandler(exi_codec=ExificientEXICodec(), evse_controller=controller, config=config).start(config.iface)


if __name__ == "__main__":
    asyncio.run(main())
