"""Transactions as stations report them (blocks E and J): state from any order of events, meter values, gaps.

State, power and faults of a transaction from its events: `rules.py`; which event is new, repeated or in conflict:
`events.py`; which readings its chart draws: `pages.py`.
"""
