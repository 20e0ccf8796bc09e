"""Settlement at the back end: journals received, sessions settled and booked, what the operator signs.

With which key the operator signs: `operator_key.py`; what in the books no longer follows from it: `audit.py`; entries
that correct a settled session: `settlements.py`.
"""
