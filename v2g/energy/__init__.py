"""Limits, prices and settlement of energy: what the grid allows and pays, and discharging signed by the vehicle.

A price component: `ChargeKind` in `price_plan.py`, its unit in `settlement/costing.py`; a condition: `When`; what
changes within a transaction: `settlement/pieces.py`; from and to OCPP: `v2g.translate` (`ocpp_tariffs`,
`station_tariffs`), messages: `v2g/ocpp/messages/tariff_cost.py`. Shares of a site's power: `balancing.py`; what bounds
a session's: `limits.py`; what a grid operator's signal allows, also after its end: `grid_signal.py`. Which signed
discharge command is followed: `discharge_gate.py`.
"""
