"""Payment at terminals and by QR code (OCPP 2.1 C).

What is reserved, and when more: `payment.py`, by the variables of PaymentCtrlr; what is taken in the end:
`settlement.py`. The terminal itself: `v2g_station/device/payment_terminal.py`.
"""
