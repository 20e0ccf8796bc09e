"""Conformance tests of chargers, vehicles, stations and back ends that others have made.

ISO 15118 over a network: `charger_tester.py`, `vehicle_tester.py`; who plugs in: `driver_cases.py`.
"""
