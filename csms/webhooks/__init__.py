"""Events posted to other systems over HTTPS, signed, until delivered."""
