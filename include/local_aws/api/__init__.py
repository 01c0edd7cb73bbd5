"""SageMaker's control plane: the wire format, the operations, and what they refuse."""
