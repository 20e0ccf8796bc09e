"""Signed discharge, both sides: `DischargeGate` for the charger, `VehicleDischarge` for the vehicle.

The rules that the two share: an offer binds until it ends or is replaced; decision and commands name it by the hash
of its signed bytes; a command is short-lived, its sequence only ever grows within a session and its nonce is new; no
live command, no watt; limits cut at once, whatever was signed.
"""

from v2g.energy.discharge_gate import Accepted, Decided, DischargeConfig, DischargeGate, Rejected
from v2g.energy.vehicle import Answered, Heard, Policy, VehicleDischarge, VehicleDischargeConfig, Verdict

__all__ = [
    "Accepted",
    "Answered",
    "Decided",
    "DischargeConfig",
    "DischargeGate",
    "Heard",
    "Policy",
    "Rejected",
    "VehicleDischarge",
    "VehicleDischargeConfig",
    "Verdict",
]
