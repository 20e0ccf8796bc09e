"""Payment at terminals and by QR code (OCPP 2.1 C)."""
