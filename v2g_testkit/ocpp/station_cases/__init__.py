"""Cases for a charging station, a module for each functional block."""
