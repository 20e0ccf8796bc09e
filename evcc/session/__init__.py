"""The vehicle's side of a session: what all editions share, and a folder for each edition. Pure.

When the vehicle has what it wants, and how much power it asks for: `program.py`. When a session without energy ends:
`vehicle.py`. Which of its contracts a vehicle presents first: `ranked` in `contracts.py`, which the folder of
`evcc/contract_store.py` holds; how long before its end a vehicle asks for another: `RENEW` in `d2/installation.py`; in
-20 when the charger says so: `d20/setup.py`.
"""
