"""Signed discharge, both sides: `DischargeGate` for the charger, `VehicleDischarge` for the vehicle.

The shared rules: an offer is binding until it ends or is replaced; decision and commands refer to it by the hash of its
signed bytes; a command is short-lived, its sequence number increases within a session and its nonce is new; no power
without a live command; limits apply at once, whatever was signed. In version 2 the vehicle countersigns checkpoints of
the charger's journal.
"""

from v2g.energy.discharge_gate import (
    Accepted,
    Decided,
    DischargeConfig,
    DischargeGate,
    JournalHead,
    Receipted,
    Rejected,
)
from v2g.energy.vehicle import (
    Answered,
    Checkpointed,
    Policy,
    ResultReceived,
    VehicleDischarge,
    VehicleDischargeConfig,
    Verdict,
)

__all__ = [
    "Accepted",
    "Answered",
    "Checkpointed",
    "Decided",
    "DischargeConfig",
    "DischargeGate",
    "JournalHead",
    "Policy",
    "Receipted",
    "Rejected",
    "ResultReceived",
    "VehicleDischarge",
    "VehicleDischargeConfig",
    "Verdict",
]
