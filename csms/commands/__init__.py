"""Any OCPP request of an operator, sent as the back end's own are, and the outcomes that come later."""
