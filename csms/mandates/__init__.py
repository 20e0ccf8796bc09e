"""Payment mandates: what sessions cost is debited from drivers' accounts by a payment provider, each posting once.

What is owed, and up to which amount: `rules.py`; when a debit is announced, made and tried again: `work.py`.
"""
