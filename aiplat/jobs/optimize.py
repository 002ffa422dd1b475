"""Choose the engine that answers with a model version, by measuring them on this machine."""

import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from aiplat.config import command
from aiplat.datasets.catalog import find_version
from aiplat.errors import AiplatError
from aiplat.jobs.schema import OptimizeConfig
from aiplat.registry.mlflow import Registry
from aiplat.store import files


def main(config: OptimizeConfig) -> None:
    """Measure the engines, show what came of each, and keep the choice with the model version."""
    console = Console(highlight=False, soft_wrap=True)
    storage = files.absolute(config.storage)
    model, folder = Registry(storage, config.tracking.get("uri")).fetch(config.model)
    name, _, number = folder.dataset.rpartition("@")
    dataset = find_version(storage, name, number)
    # torch takes seconds to import: faults of the configuration are told before.
    from aiplat.inference.hardware import describe
    from aiplat.inference.measuring.measure import Bench, Timing
    from aiplat.inference.measuring.picture import draw_measured
    from aiplat.inference.measuring.results import Arm, chosen, why_none
    from aiplat.inference.predictor import Predictor
    from aiplat.inference.stored import Place, choice_of, store_choice
    from aiplat.jobs.optimize_watch import OptimizeWatch, show_measured

    predictor = Predictor.open(folder.path, config.device)
    place = Place(
        str(folder.about["weights_sha256"]), describe(str(predictor.device)), config.threads
    )
    arms = [Arm(engine, precision) for engine in config.engines for precision in config.precisions]
    timing = Timing(config.batch_sizes, config.rounds, config.round_s, config.timeout_s)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(
            folder.path, Path(scratch), str(predictor.device), config.threads, config.parity, timing
        )
        bench.write_rows(dataset, predictor.task.columns, config.calibration_rows)
        with OptimizeWatch(console, len(arms), config.rounds) as watch:
            results = bench.measure(arms, watch)
        best = chosen(results, config.slo.p99_ms)
        title = f"{model.id} on {place.hardware}, {config.threads} threads"
        show_measured(console, results, best, title)
        report = Path(scratch, "report")
        report.mkdir()
        draw_measured(results, best, config.slo.p99_ms, title, report / "measured.png")
        told = [result.to_json() for result in results]
        (report / "measured.json").write_text(json.dumps(told, indent=2))
        if best is None:
            kept = files.join(storage, "optimizations", model.id.replace(":", "-"))
            files.copy_folder(str(report), kept)
            raise AiplatError(f"{why_none(results, config.slo.p99_ms or 0)}. Report: {kept}")
        program = bench.program(best.result.arm)
        where = store_choice(
            model, choice_of(place, best), program if program.exists() else None, report
        )
    console.print(
        f"chosen: {best.result.arm.called} at batch size {best.point.batch_size}: "
        f"{best.point.rows_per_s:.1f} rows/s, 99 of 100 passes within {best.point.p99_ms:.1f} ms"
    )
    console.print(f"kept with {model.id} at {where}")
    console.print(
        escape(
            f"serve it: python -m aiplat.jobs.serve models=[{model.id}] "
            f"serve.replica.num_cpus={config.threads} "
            f"serve.batching.max_batch_size={best.point.batch_size}"
        )
    )


if __name__ == "__main__":
    command.run(main, "optimize", OptimizeConfig)
