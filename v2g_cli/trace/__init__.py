"""`v2g trace`: recorded conversations as text, HTML and SVG."""
