"""Requests to stations: any action of OCPP with the station's own answer, and outcomes that come later."""
