"""A back end that follows a script (`v2g csms --script`): for tests of stations."""
