"""Usage of transactions, VAT numbers, QR codes of payment.

Whether a session is booked, waits or goes into quarantine: `booking.py`, with what `csms/db/queries/reviews.py` finds;
stored and reported by `csms/settlement/bookkeeper.py`.
"""
