"""How the parts of stations work, by figures of their sessions (R179)."""
