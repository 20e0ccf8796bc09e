"""Cases for a back end, a module for each functional block."""
