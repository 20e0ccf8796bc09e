"""OCPP 1.6: its messages, and the bridge that translates between a station of 1.6 and a back end of 2.0.1.

What a station says: `from_station.py`; what it is told: `to_station.py`; its keys: `configuration.py`; its
meter values: `readings.py`; what is mended of it: `tolerance.py`; charging profiles as its make takes them: `makes.py`;
Plug and Charge: `plug_and_charge.py`.
The mirror, for a station of 2.0.1 at a back end of 1.6: `mirror.py`, `to_back_end.py`, `from_back_end.py`.
"""
