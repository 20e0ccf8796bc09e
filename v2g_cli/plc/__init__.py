"""`v2g plc`: powerline frames."""
