"""Conformance cases as data, and reference devices. Pure.

Cases: `secc_cases.py`, `secc_contents.py`, `evcc_cases.py`; a verdict: `case.py`; faults in the fields of responses:
`vehicle.py`, `v2g_message/checks.py`; which apply: `declaration.py`.
A case is a state of the chart, an action there, an expectation; the chart yields one for every state and request. For
one service, as WPT, it stands in a part of `secc_cases.py` that yields nothing where another `Family` is tested; its
valid requests are in `requests.py`, its invalid ones in `changes.py`.
"""
