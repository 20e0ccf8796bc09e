"""Authorization decisions: tokens, contracts, local lists.

Whether a contract or token may charge: `authorize.py`; whether its certificate is trusted: `contracts.py`, asking
responders: `csms/trust/contracts.py`.
"""
