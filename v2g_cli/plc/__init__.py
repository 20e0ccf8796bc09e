"""`v2g plc`: the powerline, as it is spoken."""
