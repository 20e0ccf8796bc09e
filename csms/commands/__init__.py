"""Any OCPP request of an operator, sent as the back end's own are, and what requests had for later outcomes."""
