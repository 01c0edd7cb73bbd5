"""The chain of a pipeline without `preprocess`: the model is given the input's own lines.

plan ─▶ cut ─▶ manifests ─▶ transform ─▶ transformed ─▶ join ─▶ checks ─▶ publish ─▶ report
        in S3  one a job    mapped over the jobs       mapped                        clean_up (teardown)
"""
