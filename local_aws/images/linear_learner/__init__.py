"""The Linear Learner image: reads the algorithm's own artefact and answers as the algorithm does."""
