"""What all blocks share: device model, layout, variables, local time.

A variable: `variables.txt`; one for each EVSE or connector, of parts of any hardware, or that only some stations have:
`layout.py`; later values: `kernel.put` in a block. What outlives a restart: `kernel.keep` in a block, stored by
`v2g_station/store.py`.
"""
