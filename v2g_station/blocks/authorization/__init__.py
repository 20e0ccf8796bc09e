"""Authorization at the station: cache, local list, contracts, and the back end when it answers.

All is decided in `authorization.py`: whether a driver may use an EVSE, and by which reservation (`usable`), whether a
token may charge offline, a contract (`judge_contract`), a vehicle's MAC address. `contracts.py` has only the messages.
"""
