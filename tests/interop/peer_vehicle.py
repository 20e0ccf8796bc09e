"""Runs in the peer's environment: its vehicle, with a controller that takes the control mode it is told.

The stock controller takes the first parameter set, and shows a battery of 20 kV. This one shows 400 V, and in
scheduled mode it charges during the first half of its charge loops and gives energy back during the second.

    python peer_vehicle.py dynamic|scheduled SETTINGS.json
"""

import asyncio
import sys

from iso15118.evcc import Config, EVCCHandler
from iso15118.evcc.controller.simulator import SimEVController
from iso15118.evcc.evcc_config import load_from_file
from iso15118.shared.exificient_exi_codec import ExificientEXICodec
from iso15118.shared.messages.enums import ControlMode, ParameterName
from iso15118.shared.messages.iso15118_20.common_messages import SelectedEnergyService
from iso15118.shared.messages.iso15118_20.common_types import RationalNumber
from iso15118.shared.messages.iso15118_20.dc import ScheduledDCChargeLoopReqParams


class Controller(SimEVController):
    """See above."""

    def __init__(self, config, mode):
        super().__init__(config)
        self.mode = mode
        self.half = self.charging_loop_cycles // 2

    async def select_energy_service_v20(self, services):
        """Take the parameter set of the wanted control mode."""
        service = services[0]
        for parameter_set in service.parameter_sets:
            for parameter in parameter_set.parameters:
                if parameter.name == ParameterName.CONTROL_MODE and parameter.int_value == self.mode:
                    return SelectedEnergyService(
                        service=service.service, is_free=service.is_free, parameter_set=parameter_set
                    )
        raise LookupError(f"{self.mode} was not offered")

    async def get_present_voltage(self):
        """A battery of an ordinary voltage."""
        return RationalNumber(exponent=0, value=400)

    get_target_voltage = get_present_voltage

    async def get_scheduled_dc_charge_loop_params(self):
        """Ask for 20 A in, then for 20 A out."""
        amperes = 20 if self.charging_loop_cycles > self.half else -20
        return ScheduledDCChargeLoopReqParams(
            ev_target_current=RationalNumber(exponent=0, value=amperes),
            ev_target_voltage=RationalNumber(exponent=0, value=450),
        )


async def main(mode, settings):
    """Run one session."""
    config = Config()
    config.load_envs()
    vehicle = await load_from_file(settings)
    await EVCCHandler(
        evcc_config=vehicle,
        iface=config.iface,
        exi_codec=ExificientEXICodec(),
        ev_controller=Controller(vehicle, ControlMode[mode.upper()]),
    ).start()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
