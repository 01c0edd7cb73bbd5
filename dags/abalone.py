"""# abalone: the age of sea snails, every night

Scores the abalone data of the SageMaker Immersion Day lab: `preprocess` checks the records and writes them as shards of
equal size, `transform` runs a scikit-learn featurizer and a Linear Learner over them, `join` adds each record's
prediction to it, and `publish` commits the result. `include/pipelines/abalone.yaml` sets the input, the output and the
limits; *Trigger*, in Airflow's UI, opens a form that overrides the sizes for one run.
"""

from batch_inference import build_scoring_dag

dag = build_scoring_dag("abalone", doc_md=__doc__)
