"""Events posted to other systems over HTTPS, signed (`rules.py`), until delivered."""
