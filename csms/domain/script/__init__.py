"""A scripted back end, for tests of stations' behaviour."""
