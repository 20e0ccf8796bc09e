"""An OCPP charging station, usable without a charger.

Layers: `simulator`; `device`, `runner`, `station`, `assembly`; `blocks`; `kernel`.
What a station needs of its charger: `ChargerPort` in `runner.py`; what it answers its back end: `blocks`.
"""
