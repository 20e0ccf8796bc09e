"""`v2g exi`: EXI to and from XML and JSON."""
