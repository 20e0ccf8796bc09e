"""Charging stations as the back end knows them: connectors, what they accepted, clocks, when they were last seen.

Columns of their list: `pages.py`, what it has and in which order: `listed.py`; zones and offsets of their clocks:
`rules.py`, `clocks.py`; stations of a file: `importing.py`.
"""
