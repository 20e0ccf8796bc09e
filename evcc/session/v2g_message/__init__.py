"""The vehicle's sessions of ISO 15118-2 and DIN 70121, whose messages differ little: stages, handlers and session."""
