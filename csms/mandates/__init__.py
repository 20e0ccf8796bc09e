"""Payment mandates: what sessions cost is debited from drivers' accounts by a payment provider, each posting once."""
