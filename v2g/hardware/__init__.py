"""Protocols and rules of hardware: board, power modules, meters, readers, terminals, energy managers. Pure.

Whether a contactor may close, when the plug is locked and freed: `interlock.py`, also whether one is welded or the
pilot has a fault; what a fault stops, until when, its lamp and OCPP `Problem`: `faults.py`.
"""
