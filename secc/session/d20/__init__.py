"""ISO 15118-20 in the charger: handlers of its messages, the stages of a session, and the session.

Whether a contract may charge, by chain and local CRLs: `authorization.py`; whether a session may be joined again:
`setup.py`, by `v2g/iso15118/d20/session.py`; what messages mean to the monitor: `safety.py`. To add a handler,
write it below `@HANDLERS.on_request(its request)` in a module that `session.py` imports.
"""
