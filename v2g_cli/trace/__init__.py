"""`v2g trace`: conversations, as text, page and picture."""
