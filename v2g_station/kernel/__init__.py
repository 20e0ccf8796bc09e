"""What all blocks share: device model, layout, variables, local time.

A variable: `variables.py` (`optional_variables.py` where only some stations have it); one for each EVSE or connector:
`layout.py`; parts of any hardware: `physical_variables.py`; later values: `kernel.put` in a block.
"""
