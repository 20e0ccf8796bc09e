"""Usage of transactions, VAT numbers, QR codes of payment."""
