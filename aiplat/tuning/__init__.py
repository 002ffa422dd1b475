"""Search for the best settings of an experiment: the space, the study, its report. Knows no Ray."""
