"""A back end that answers as a script says: for those who make stations and want to see what these do then."""
