"""The sleeper image: takes a set time per record and next to none of this machine's cores."""
