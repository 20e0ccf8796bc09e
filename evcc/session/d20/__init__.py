"""ISO 15118-20 in the vehicle: its requests, its reactions to responses, and the session.

What a request says, such as the energy that is asked for: `requests.py`; the reaction to each response code:
`response_policy.py`; to the charger's notifications, when the loop ends and a schedule is asked for anew: `loop.py`; to
answers on side streams: `side_streams.py`. To add a handler, write it below `@on_response(its stage)` in a module that
`session.py` imports.
"""
