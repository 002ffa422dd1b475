"""Optuna's samplers and pruners, by the names a configuration gives them."""

import warnings

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from aiplat.tuning.config import TuningConfig

# Generations of NSGA-II that a study has room for, at least.
_GENERATIONS = 5


def quieten() -> None:
    """Keep Optuna from telling of each trial, and from calling its own parts experimental."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def make_sampler(config: TuningConfig, seed: int) -> BaseSampler:
    """The sampler; what it knows is in the study, so that it may be made anew for each trial.

    TPE: Bergstra et al., 2011, with the parameters together as Falkner et al., 2018, have them; GP:
    a Gaussian process with logEI; CMA-ES: Hansen, 2016; NSGA-II: Deb et al., 2002.
    """
    quieten()
    if config.sampler == "tpe":
        return TPESampler(seed=seed, multivariate=True, group=True)
    if config.sampler == "gp":
        return GPSampler(seed=seed)
    if config.sampler == "cmaes":
        return CmaEsSampler(seed=seed)
    if config.sampler == "nsga2":
        size = max(4, min(50, config.num_trials // _GENERATIONS))
        return NSGAIISampler(seed=seed, population_size=size)
    # The points of a grid or a population wait in the study: this fills in what they leave open.
    return RandomSampler(seed=seed)


def make_pruner(config: TuningConfig) -> BasePruner:
    """The pruner; it judges by the scores that the study holds, epoch by epoch.

    ASHA: Li et al., 2020; Hyperband: Li et al., 2018; median: Golovin et al., 2017.
    """
    quieten()
    if config.pruner == "none" or config.is_multi_objective or config.sampler == "pbt":
        return NopPruner()
    min_epochs = config.min_epochs or 1
    if config.pruner == "median":
        return MedianPruner(n_warmup_steps=min_epochs)
    kind = SuccessiveHalvingPruner if config.pruner == "asha" else HyperbandPruner
    return kind(min_resource=min_epochs, reduction_factor=config.reduction_factor)
