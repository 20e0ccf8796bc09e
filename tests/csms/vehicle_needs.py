"""Needs of vehicles, and the profiles that answer them."""

import asyncio

from csms.smart_charging import store as charging
from tests.csms.charging import Charging
from tests.csms.scripted_station import Payload
from tests.waiting import until

ACCEPTED = {"status": "Accepted"}
NEEDS = {
    "evseId": 1,
    "maxScheduleTuples": 3,
    "chargingNeeds": {
        "requestedEnergyTransfer": "DC",
        "dcChargingParameters": {"evMaxCurrent": 100, "evMaxVoltage": 400, "energyAmount": 20000},
    },
}


def tx_profiles(charge: Charging) -> list[Payload]:
    received = [
        each["chargingProfile"] for each in charge.station.payloads("SetChargingProfile") if each["evseId"] == 1
    ]
    return [each for each in received if each["chargingProfilePurpose"] == "TxProfile"]


async def next_profile(charge: Charging, before: int) -> Payload:
    await until(lambda: len(tx_profiles(charge)) > before)
    found = tx_profiles(charge)[-1]
    assert found["transactionId"] == charge.id
    async with asyncio.timeout(5):  # what the station answered has been noted
        while not (await charge.csms.services.store.run(charging.profiles, charge.station.id, 1)):
            await asyncio.sleep(0)
    return found


NEEDS_20 = {
    "evseId": 1,
    "maxScheduleTuples": 3,
    "chargingNeeds": {
        "requestedEnergyTransfer": "DC",
        "controlMode": "ScheduledControl",
        "v2xChargingParameters": {"maxChargePower": 11000.0, "evTargetEnergyRequest": 20000.0},
    },
}
