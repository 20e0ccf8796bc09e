"""Protocols and rules of hardware: board, power modules, meters, readers, terminals, energy managers. Pure.

Whether a contactor may close, when the plug is locked and freed: `interlock.py`; an OCPP `Problem`: `faults.py`.
"""
