"""Transactions as stations report them (blocks E and J): state from any order of events, meter values, gaps.

State, power and faults of a transaction from its events: `rules.py`; which readings its chart draws: `pages.py`.
"""
