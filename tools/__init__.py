"""The doors of the Makefile: what runs the package on a laptop. Nothing here is deployed."""
