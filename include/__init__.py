"""What the DAGs are made of: configuration and arithmetic (scoring), what runs inside containers (jobs), the chain (orchestration), and an AWS for the laptop (local_aws)."""
