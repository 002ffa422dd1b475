"""Kill parts of a training run again and again; check that no row and no learning is lost."""

from pathlib import Path

from rich.console import Console

from aiplat.config import command
from aiplat.datasets.catalog import find_version
from aiplat.errors import AiplatError, ConfigError
from aiplat.jobs.schema import DrillConfig
from aiplat.store import files


def main(config: DrillConfig) -> None:
    """Train undisturbed, then through the kills; compare, and write the report."""
    # torch takes seconds to import: faults of the configuration are told before.
    from aiplat.cluster.drill import disturb, leave_alone
    from aiplat.cluster.nodes import LocalNodes
    from aiplat.jobs.drill_runs import DrillRuns
    from aiplat.jobs.drill_watch import DrillWatch, show_report
    from aiplat.training.drill.picture import draw_drill

    console = Console(highlight=False, soft_wrap=True)
    storage = files.absolute(config.storage)
    if files.is_remote(storage):
        raise ConfigError(f"storage={storage}: a drill damages and counts files of this machine")
    version = find_version(storage, config.dataset.name, config.dataset.version)
    folder = Path(storage, "drills", config.name)
    runs = DrillRuns(config, version, storage, folder)
    kills = runs.kills
    runs.make_room()
    folder.mkdir(parents=True, exist_ok=True)
    with LocalNodes(config.nodes) as nodes:
        console.print(f"a cluster of {len(config.nodes)} nodes and a head is up ({nodes.address})")
        for run, seed in runs.undisturbed.items():
            console.print(f"run {run}: undisturbed")
            leave_alone(runs.stage(nodes, run, seed))
        console.print(f"run {runs.drilled}: {len(kills)} kills")
        counter = runs.counter()
        watch = DrillWatch(console, counter, len(kills))
        strikes = disturb(runs.stage(nodes, runs.drilled, config.seed), kills, watch)
    report = runs.conclude(strikes, counter)
    files.write_json(str(folder / "drill.json"), report.to_json())
    draw_drill(report, folder / "drill.png")
    show_report(console, report, folder)
    if report.faults:
        raise AiplatError("\n".join([f"drill {config.name} failed:", *report.faults]))


if __name__ == "__main__":
    command.run(main, "drill", DrillConfig)
