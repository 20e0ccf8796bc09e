"""Cases of OCPP 1.6, over the bench of 2.x: what differs of both testers, and the cases by the certification's ids."""
