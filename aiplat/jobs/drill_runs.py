"""The runs of a drill: as commands a user could give, and what their logs say in the end."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from aiplat.cluster.drill import Stage
from aiplat.cluster.nodes import LocalNodes
from aiplat.cluster.scale import ClusterConfig
from aiplat.config.command import to_yaml
from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import ConfigError
from aiplat.jobs.schema import DrillConfig, TrainConfig
from aiplat.registry.config import RegisterConfig
from aiplat.store import files
from aiplat.training.drill.losses import compare, loss_curve
from aiplat.training.drill.plan import Kill, plan_kills
from aiplat.training.drill.recovery import Strike, recoveries
from aiplat.training.drill.report import DrillReport
from aiplat.training.drill.rows import RowCounter
from aiplat.training.logs import read_events
from aiplat.training.samples import num_batches

# Groups whose default option must not show through a configuration that is complete.
_GROUPS = ("model", "task", "optim", "schedule", "tracking")


@dataclass(frozen=True)
class DrillRuns:
    """One run through kills and some without. storage, folder: on this machine, absolute."""

    config: DrillConfig
    version: DatasetVersion
    storage: str
    folder: Path

    @property
    def kills(self) -> tuple[Kill, ...]:
        """What is going to be killed, and when. Raises ConfigError where the run is too short."""
        config, batch_size = self.config, self.config.dataset.batch_size
        if batch_size == "auto":
            raise ConfigError(
                "dataset.batch_size is auto, and a drill plans its kills by steps; set a number"
            )
        per_epoch = num_batches(self.version.num_rows("train"), batch_size)
        num_steps = per_epoch * config.loop.max_epochs
        return plan_kills(config.kinds, config.kills, config.corrupt, num_steps, config.seed)

    @property
    def drilled(self) -> str:
        """The name of the run that goes through the kills."""
        return f"{self.config.name}-drilled"

    @property
    def undisturbed(self) -> dict[str, int]:
        """The seeds of the runs to compare it with, by name; its own is the first."""
        seeds = range(self.config.seed, self.config.seed + self.config.undisturbed)
        return {f"{self.config.name}-undisturbed-{seed}": seed for seed in seeds}

    def run_dir(self, run: str) -> str:
        """Where a run of the drill lies."""
        return files.join(self.storage, "runs", run)

    def stage(self, nodes: LocalNodes, run: str, seed: int) -> Stage:
        """What starts a run on these nodes."""
        output = self.folder / f"{run}.txt"
        self._write_experiment(run, seed, nodes.address)
        output.unlink(missing_ok=True)
        return Stage(
            nodes=nodes,
            command=[
                *(sys.executable, "-m", "aiplat.jobs.train"),
                *("--config-dir", str(self.folder / "conf"), f"+exp={run}"),
            ],
            run_dir=self.run_dir(run),
            output=output,
            replacements=self.config.replacements,
        )

    def make_room(self) -> None:
        """Remove the run through an earlier drill of this name.

        Undisturbed runs are kept: they need not be done again. Raises ConfigError where what is
        there is not of a drill.
        """
        run_dir = self.run_dir(self.drilled)
        if files.exists(run_dir) and not self._experiment(self.drilled).exists():
            raise ConfigError(f"{run_dir} is a run of its own: choose another name= for the drill")
        files.remove_folder(run_dir)

    def counter(self) -> RowCounter:
        """What counts the rows of the drilled run."""
        first = self.version.first_row_id("train")
        return RowCounter(self.run_dir(self.drilled), first, self.version.num_rows("train"))

    def conclude(self, strikes: Sequence[Strike], counter: RowCounter) -> DrillReport:
        """What came of it, from the records and the logs of all the runs."""
        events = list(read_events(self.run_dir(self.drilled)))
        logs = [events, *(read_events(self.run_dir(run)) for run in self.undisturbed)]
        curves = [loss_curve(log) for log in logs]
        starts = [event for event in events if event["kind"] == "start"]
        return DrillReport(
            name=self.config.name,
            kills=self.kills,
            strikes=strikes,
            recoveries=recoveries(strikes, events),
            rows=counter.finish(max(curves[0].epochs), [strike.epoch for strike in strikes]),
            comparison=compare(curves[0], curves[1:], self.config.tolerance),
            max_recovery_s=self.config.max_recovery_s,
            curves=curves,
            groups=[(event["at"], event["world_size"]) for event in starts],
        )

    def _experiment(self, run: str) -> Path:
        return self.folder / "conf" / "exp" / f"{run}.yaml"

    def _write_experiment(self, run: str, seed: int, address: str) -> None:
        """Write the whole configuration of a run as an experiment that anyone can start again."""
        config = self.config
        own = {item.name: getattr(config, item.name) for item in fields(TrainConfig)}
        whole = replace(
            TrainConfig(**own),
            name=run,
            storage=self.storage,
            seed=seed,
            cluster=ClusterConfig(address=address),
            # Every kill is the cluster's fault, and all of them fall on one run.
            scale=replace(config.scale, max_failures=config.scale.max_failures + config.kills),
            register=RegisterConfig(name=None),
        )
        unchosen = "".join(f"  - override /{group}: null\n" for group in _GROUPS)
        head = f"# @package _global_\n# A run of the drill {config.name}.\ndefaults:\n{unchosen}"
        file = self._experiment(run)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{head}\n{to_yaml(whole)}")
