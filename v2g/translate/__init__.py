"""Money in OCPP's words: price plans as tariffs, bills as cost details. Both ends work out the same from them."""
