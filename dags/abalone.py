"""# abalone: the age of sea snails, every night

Scores the abalone data of the SageMaker Immersion Day lab: `preprocess` checks the records and cuts them into equal
shards, `transform` runs a scikit-learn featurizer and a Linear Learner over them, `join` puts each record beside its
prediction, and `publish` commits the result. What is scored, where and with which limits stands in
`include/pipelines/abalone.yaml`; *Trigger*, in Airflow's UI, opens a form for one run's own sizes.
"""

from include.orchestration.chain import scoring_dag

dag = scoring_dag("abalone", doc_md=__doc__)
