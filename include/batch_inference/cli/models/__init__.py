"""A model of one's own: packed, uploaded, registered."""
