"""Conformance and load tests over OCPP, of stations and of back ends.

Cases: a module a functional block in `station_cases`, `csms_cases`, each a function that its block registers (`Block`
of `case.py`, and `having` for cases that need something else); run by `station_tester.py` and `csms_tester.py` over
`connection.py`, which judges each frame and the case; who plugs in, and who operates the back end: `driver.py`,
`operator.py`.
What must hold over a whole run: `run_judge.py` (pure), rows of the report after the cases.
"""
