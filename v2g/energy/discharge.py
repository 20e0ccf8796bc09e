"""Signed discharge, both sides: `DischargeGate` for the charger, `VehicleDischarge` for the vehicle.

The shared rules: an offer is binding until it ends or is replaced; decision and commands refer to it by the hash of its
signed bytes; a command is short-lived, its sequence number increases within a session and its nonce is new; no power
without a live command; limits apply at once, whatever was signed.
"""

from v2g.energy.discharge_gate import Accepted, Decided, DischargeConfig, DischargeGate, Rejected
from v2g.energy.vehicle import Answered, Policy, ResultReceived, VehicleDischarge, VehicleDischargeConfig, Verdict

__all__ = [
    "Accepted",
    "Answered",
    "Decided",
    "DischargeConfig",
    "DischargeGate",
    "Policy",
    "Rejected",
    "ResultReceived",
    "VehicleDischarge",
    "VehicleDischargeConfig",
    "Verdict",
]
