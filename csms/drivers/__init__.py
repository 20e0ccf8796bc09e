"""The driver's side: a page for each EVSE, which its QR code opens, and one for each session, with its receipt.

Neither needs a login: addresses have a code that only this back end can make (`work.py`), so nobody finds the page of
an EVSE without its QR code, or of a session without having been there while it ran. Pages name no token, contract or
vehicle. Their words: `driver.html` and `driver_session.html` of `csms/console/templates`, and `pages.py`.
"""
