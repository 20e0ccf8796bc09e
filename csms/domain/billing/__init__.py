"""What a transaction used, VAT numbers, QR codes of payment."""
