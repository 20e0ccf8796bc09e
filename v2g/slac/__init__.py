"""SLAC of ISO 15118-3: matching of vehicle and charger over the powerline, and modems' management. Pure.

The steps of each side: `ev.py`, `evse.py`; how long they take: `SlacTiming` in `shared.py`; frames: `mme.py`, those of
a modem's maker: `vendor.py`. The network's key and identifier, and the amplitude map: `host.py`.
"""
