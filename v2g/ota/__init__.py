"""Updates over the air: what may be installed, by whose signatures and when. Pure."""
