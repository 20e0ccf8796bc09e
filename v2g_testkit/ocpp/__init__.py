"""Conformance and load tests over OCPP, of stations and of back ends.

Cases: a module a functional block in `station_cases`, `csms_cases`; run by `station_tester.py`, `csms_tester.py` over
`connection.py`, which judges each frame; who plugs in, and who operates the back end: `driver.py`, `operator.py`.
What must hold over a whole run: `run_judge.py` (pure), rows of the report after the cases.
"""
