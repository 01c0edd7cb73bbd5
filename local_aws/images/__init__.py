"""Programs that stand for container images, and images.yaml, the registry that names them."""
