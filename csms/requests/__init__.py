"""Requests to stations: how they are sent, who may ask for them, and outcomes that come later.

Which permission an action needs: `rules.py`; how many stations are asked at once: `work.py`. To one station goes one
request after the other: `v2g/ocpp/rpc.py`.
"""
