"""Authorization at the station: cache, local list, contracts, and the back end when it answers.

Whether a driver may use an EVSE, and by which reservation: `authorization.py` (`usable`); whether a token may charge
offline, and a vehicle's MAC address: here as well.
"""
