"""One EVSE: its states, sessions one after the other, their records, restarts (`controller.py`).

What an EVSE does, sessions, pauses, resets: `core.py`, by its charts; there, too, when a vehicle gets basic charging:
where matching fails, after the times of `v2g/slac/shared.py`, or sessions do, by `BasicChargingConfig`. Paused sessions
over a restart: `paused_session_store.py`. A change between three phases and one: `phases.py`. A session's journal: its
entries are made in `secc/session/journal.py`, read from the meter, written and closed in `journal.py`; its bundle:
`archive.py`.
Only paused sessions survive a restart. A charger that restarts closes the journal of an active session with the meter's
registers, settles it, and ends its OCPP transaction. With `TxCtrlr.ResumptionTimeout` the transaction waits for the
next session of the same contract.
"""
