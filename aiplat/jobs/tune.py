"""Search for the best settings of an experiment: many trials, side by side, on the cluster."""

from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from aiplat.config import command, targets
from aiplat.datasets.catalog import find_version
from aiplat.errors import ConfigError
from aiplat.jobs.joining import joined
from aiplat.jobs.schema import TrainConfig
from aiplat.store import files


def main(config: TrainConfig, recompose: command.Recompose[TrainConfig]) -> None:
    """Start the study, or go on with it; then report on it and register its best model."""
    from aiplat.tuning.space import checked_space

    space = checked_space(config.tuning.space, recompose)
    # torch takes seconds to import: faults of the configuration are told before.
    from aiplat.jobs.tune_outcome import conclude, recorded_study
    from aiplat.jobs.tune_study import open_study
    from aiplat.jobs.tune_trials import StudyTrials
    from aiplat.jobs.tune_watch import StudyWatch, TrialSinks

    console = Console(highlight=False, soft_wrap=True)
    storage, tuning = files.absolute(config.storage), config.tuning
    version = find_version(storage, config.dataset.name, config.dataset.version)
    if "val" not in version.splits:
        raise ConfigError(f"{version.id} has no split 'val', by which trials are compared")
    tracker = targets.build(config.tracking, storage=storage)
    # The first start of a tracker makes a database, which takes as long as a cluster.
    opening = ThreadPoolExecutor(1).submit(tracker.open)
    with open_study(config, space, version) as opened:
        watch = StudyWatch(console, opened, tuning.num_trials)
        trials = StudyTrials(opened.study, config, recompose, version, opened.folder, watch)
        opening.result()
        with recorded_study(opened, tracker, config, version):
            if opened.study.has_more:
                sinks = TrialSinks(
                    trials.opened,
                    version,
                    lambda: targets.build(config.tracking, storage=storage),
                    opened.tracking_id,
                    watch.say,
                )
                with joined(console, config.cluster):
                    from aiplat.cluster.tune import tune_on_cluster

                    with watch, trials, sinks:
                        tune_on_cluster(
                            trials, opened.job, opened.task, config.scale, tuning.concurrent, sinks
                        )
            conclude(console, opened, trials, tracker)


if __name__ == "__main__":
    command.run_varied(main, "tune", TrainConfig)
