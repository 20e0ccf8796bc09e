"""Protocols and rules of hardware: board, power modules, meters, readers, terminals, energy managers. Pure.

Whether a contactor may close: `interlock.py`; an OCPP `Problem`: `faults.py`.
"""
