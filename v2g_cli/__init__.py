"""The `v2g` command; beside the test kit the only package that imports the programs.

Commands and their options: `main.py`, and a module or folder by the command's name; options that several share:
`options.py`. What users see of a session: `Observe` records of the cores, drawn by `demo` and `live.py`; conversations:
`trace/command.py`.
"""
