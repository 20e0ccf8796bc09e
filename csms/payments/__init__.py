"""Payments without a token: terminals, web payments, QR codes (C25); and battery swaps (S02)."""
