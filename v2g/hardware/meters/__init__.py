"""Meters: registers, telegrams, counters, plausibility.

Another Modbus meter: a file of `hardware.modbus.map_file`, for everybody in `maps`, with its source, and
`tests/hardware/meters/test_registers.py`; on another bus: a driver, as for power modules.
"""
