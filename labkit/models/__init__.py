"""The networks of the labs."""
