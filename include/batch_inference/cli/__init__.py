"""The command line `batch-inference`: one module a command."""
