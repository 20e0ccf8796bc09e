"""An OCPP charging station, usable without a charger.

Layers: `simulator`; `device`, `runner`, `station`; `blocks`; `kernel`.
Beside them: `ocpp_bridge`, a program that puts stations of 1.6 behind a back end of 2.0.1, and the reverse.
What a station needs of its charger: `ChargerPort` in `runner.py`; what it answers its back end: `blocks`.
"""
