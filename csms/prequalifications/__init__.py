"""Which stations may feed back: records of grid operators, and permits that follow from them and from attestation.

Whether a station may feed back: `rules.py`, kept by `work.py`, applied by `csms/grid/signal_delivery.py`, dispatch
and smart charging.
"""
