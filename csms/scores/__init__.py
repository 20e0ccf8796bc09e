"""Scores of vehicles and their drivers (R60, R123, R214), with the consent of the vehicle's person.

They are kept beside the battery's state, sealed, by the sink `csms.batteries.work`; what counts: `v2g.battery.scores`,
what is a hard or a phantom braking: `v2g/battery/driving.py`.
"""
