"""`v2g conform`: tests of what others have made: a module for each kind, chargers and vehicles in `command.py`.

Cases: `v2g_testkit`. Reports: `report.py`; exit codes, interrupted and resumed runs: `running.py`.
"""
