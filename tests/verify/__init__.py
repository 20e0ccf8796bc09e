"""`make verify`: everything that is tested, in parts."""
