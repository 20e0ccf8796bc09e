"""HTTP of the programs: clients, small servers, files."""
