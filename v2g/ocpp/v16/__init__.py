"""OCPP 1.6: its messages, and the bridge that translates between a station of 1.6 and a back end of 2.0.1."""
