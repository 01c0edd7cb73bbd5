"""The reference pages written from code, and the site."""
