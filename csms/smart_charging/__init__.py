"""Smart charging (block K): profiles at stations, external limits, templates, dynamic values, needs of vehicles.

Used by sites, dispatch, fleets and the grid; tells which limit binds a transaction.
Which limit binds: `limits_in_force.py`; what vehicles plan: `charging_plans.py`. Whether a vehicle's needs get a
profile: `station.py`; the profile: `csms/grid/signal_delivery.py`.
"""
