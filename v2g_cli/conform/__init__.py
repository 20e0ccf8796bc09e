"""`v2g conform`: tests of third-party chargers and vehicles."""
