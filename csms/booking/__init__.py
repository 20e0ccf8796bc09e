"""What is booked: each complete journal and ended transaction is judged, and what does not fit is held for a person.

Called when journals are complete and transactions end; books, reports and payments count only what it lets pass.
Whether a journal is booked, waits or goes into quarantine: `rules.py`, with what `store.py` finds; what a
transaction used, by the registers in its events, and whether that is plausible: `judge_usage` in `plausibility.py`,
from readings of 1.6 by `v2g/ocpp/v16/readings.py`; whether it is held: `held.py`, by what contradicts it in
`facts.py`, the ledger of registers, times and places.
"""
