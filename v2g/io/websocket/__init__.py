"""OCPP over WebSocket, as station and as back end."""
