"""The tasks of a pipeline without `preprocess`: the model gets the lines of the input.

plan ─▶ cut_input ─▶ write_manifests ─▶ transform ─▶ await_transform ─▶ join ─▶ checks ─▶ publish ─▶ report
        in S3        one per job        mapped       mapped             mapped                clean_up (teardown)
"""
