"""What a study keeps of a trial beside its values: the names of Optuna's user attributes."""

VALUES = "values"
EPOCHS = "epochs"
SECONDS = "seconds"
METRICS = "metrics"
CAUSE = "cause"
FAILURE = "failure"
# Who had the trial tried, where it was not the sampler.
ORIGIN = "origin"
# Of a population: the member it goes on for, and whose weights it begins with.
GENERATION = "generation"
PREDECESSOR = "predecessor"
PARENT = "parent"
