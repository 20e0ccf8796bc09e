"""The books over all sessions: postings, periods that close, sums, reports, and an audit that recomputes them.

Postings come from `csms.booking` and corrections of `csms.settlements`.
With which key the operator signs: `operator_key.py`; what in the books no longer follows from it: `audit.py`.
"""
