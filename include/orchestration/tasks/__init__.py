"""The bodies of the chain's Python tasks, one file each. They read what the plan says and count what is there."""
