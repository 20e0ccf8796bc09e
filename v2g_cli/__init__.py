"""The `v2g` command; the only package that imports the programs.

What users see of a session: `Observe` records of the cores, drawn by `demo` and `live.py`; conversations:
`trace/command.py`.
"""
