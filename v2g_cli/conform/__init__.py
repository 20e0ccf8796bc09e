"""`v2g conform`: other makes of charger and vehicle, tested."""
