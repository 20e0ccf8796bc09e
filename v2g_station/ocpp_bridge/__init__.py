"""`v2g ocpp-bridge` (R201): stations of OCPP 1.6 behind a back end of 2.0.1, or stations of 2.0.1 behind one of 1.6.

`v2g.ocpp.v16` translates; `program.py` has the connections, `facts.py` what is kept on disk, `station_behind.py` what
the back end of 1.6 wants to know of a station.
"""
