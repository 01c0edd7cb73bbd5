"""What the DAGs are made of.

`scoring` is configuration and arithmetic, `jobs` runs inside containers, `orchestration` is the chain, and
`local_aws` an AWS for the laptop.
"""
