"""Messages of OCPP 2.0.1 and 2.1, a module for each functional block."""
