"""What is booked: each complete journal and ended transaction is judged, and what does not fit is held for a person.

Called when journals are complete and transactions end; books, reports and payments count only what it lets pass.
Whether a session is booked, waits or goes into quarantine: `rules.py`, with what `store.py` finds; whether a
transaction's amounts are plausible: `plausibility.py`.
"""
