"""What comes of a study: its record, its report, the best trial as an experiment and a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiplat.datasets.versions import DatasetVersion
from aiplat.jobs.plan import train_job
from aiplat.jobs.record import as_recorded, closed_at_the_end
from aiplat.jobs.schema import TrainConfig
from aiplat.jobs.tune_study import OpenStudy
from aiplat.jobs.tune_trials import StudyTrials
from aiplat.jobs.tune_watch import shown
from aiplat.registry.mlflow import Registry
from aiplat.store import files
from aiplat.tracking.tracker import Tracker, run_record
from aiplat.training.export import export_run
from aiplat.training.result import read_result
from aiplat.tuning.experiment import experiment_file
from aiplat.tuning.notes import VALUES
from aiplat.tuning.report import Counts, StudyFacts, write_report

# The groups that conf/tune.yaml and conf/train.yaml choose an option of.
_GROUPS = ["model", "task", "optim", "schedule"]
# Where an experiment runs and is recorded is not part of it.
_PLACES = ("storage", "cluster", "tracking")


@contextmanager
def recorded_study(
    opened: OpenStudy, tracker: Tracker, config: TrainConfig, version: DatasetVersion
) -> Iterator[None]:
    """Keep the tracker's record of the study, under which those of its trials lie."""
    tags = {"dataset": version.id, "study": opened.url, "kind": "study"}
    record = run_record(opened.name, asdict(config), tags)
    opened.tracking_id = tracker.start(record, resume=opened.tracking_id)
    with closed_at_the_end(tracker):
        yield


def conclude(console: Console, opened: OpenStudy, trials: StudyTrials, tracker: Tracker) -> None:
    """Write the report, the best experiment and its model; say where they are."""
    study, config = opened.study, trials.config
    objectives = [opened.task.primary, *config.tuning.objectives[1:]]
    facts = StudyFacts(opened.name, objectives, config.loop.max_epochs)
    report = Path(opened.folder) / "report"
    missing = write_report(study, facts, report)
    counts = Counts.of(study.trials, facts.max_epochs)
    why = study.stopped_because or study.reason_to_end()
    table = Table(
        title=f"Study {opened.name}: ended by {why}",
        show_header=False,
        min_width=60,
    )
    table.add_row(
        "trials",
        f"{counts.complete} complete, {counts.pruned} pruned, {counts.failed} failed; "
        f"{counts.epochs} epochs trained, {counts.saved_epochs} saved by pruning",
    )
    for trial in study.best():
        values = zip(objectives, trial.values, strict=True)
        said = "  ".join(f"{name} {value:.6g}" for name, value in values)
        table.add_row(f"best: trial {trial.number}", f"{said}\n{shown(trial.user_attrs[VALUES])}")
    ways = [f"optuna-dashboard {opened.url}", *_best_kept(table, opened, trials)]
    console.print(table)
    # Not in the table, which would break what is to be copied.
    console.print(f"report: {report / 'report.html'}", soft_wrap=True)
    for command in ways:
        console.print(f"  {escape(command)}", soft_wrap=True)
    for text in missing:
        console.print(f"[yellow]note[/] not drawn: {escape(text)}")
    tracker.log_artifacts(report, "report")


def _best_kept(table: Table, opened: OpenStudy, trials: StudyTrials) -> list[str]:
    """The best trial as an experiment file, and as a model version where that is asked for.

    The answer is what can be done with them, as commands.
    """
    ranked = opened.study.ranked()
    if not ranked:
        return []
    best, config = ranked[0], trials.config
    name = f"{opened.name}_best"
    whole = trials.configured(best.user_attrs[VALUES], name)
    path = files.join(opened.folder, "exp", f"{name}.yaml")
    about = (
        f"Trial {best.number} of study {opened.name}: {opened.task.primary} {best.values[0]:.4f}."
    )
    said = {key: value for key, value in as_recorded(whole).items() if key not in _PLACES}
    if said["scale"]["num_workers"] == "auto":
        # As the trial had it: with more of them other random numbers are drawn.
        said["scale"]["num_workers"] = 1
    text = experiment_file(said, TrainConfig, _GROUPS, about)
    files.write_bytes(path, text.encode())
    ways = [f"python -m aiplat.jobs.train --config-dir {opened.folder} +exp={name}"]
    if config.register.name is None:
        return ways
    run = trials.run_dir(best.number)
    result = read_result(run)
    if result is None:
        return ways
    of_trial = trials.configured(best.user_attrs[VALUES], trials.run_name(best.number))
    job = train_job(of_trial, run, trials.version)
    folder = export_run(job, config.register.name, as_recorded(of_trial), result)
    state = files.read_json(files.join(run, "run.json"))
    registered = Registry(files.absolute(config.storage), config.tracking.get("uri")).register(
        folder, config.register.name, config.register.alias, state["tracking_id"]
    )
    table.add_row("model version", registered.id)
    return [*ways, f"python -m aiplat.jobs.serve models=[{registered.id}]"]
