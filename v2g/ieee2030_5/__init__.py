"""IEEE 2030.5: DER controls of a utility's server, read, evaluated and answered; pure."""
