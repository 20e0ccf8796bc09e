"""Sites: fuses and the EVSEs behind them, among which power is shared after every change (K02).

Shares of a site's power, and how a set-point is split within it: `rules.py`.
"""
