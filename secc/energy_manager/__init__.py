"""An energy manager of the site that steers the charger, sharing among EVSEs, and the charger's grid code.

Another protocol: `v2g/io/hardware/energy_modbus.py` or a neighbour, its section in `v2g/io/hardware/energy_config.py`
and `config.py`, a line in `BACKENDS` of `managers.py`. When power may flow by a grid code: `grid_code.py`, by
`v2g/energy/grid_guard.py` and the presets beside it (`grid_codes`).
"""
