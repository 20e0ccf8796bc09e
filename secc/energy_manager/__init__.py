"""An energy manager of the site that steers the charger, and sharing among EVSEs.

Another protocol: `v2g/io/hardware/energy_modbus.py` or a neighbour, its section in `v2g/io/hardware/energy_config.py`
and `config.py`, a line in `BACKENDS` of `managers.py`.
"""
