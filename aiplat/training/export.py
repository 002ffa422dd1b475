"""A finished run as a model version folder."""

from collections.abc import Mapping
from typing import Any

from aiplat.registry.card import ModelFacts
from aiplat.registry.confusion import Confusion
from aiplat.registry.export import export_model
from aiplat.store import files
from aiplat.training.job import TrainJob
from aiplat.training.result import FitResult, best_weights


def export_run(job: TrainJob, name: str, config: Mapping[str, Any], result: FitResult) -> str:
    """Write the run's best weights and all that is needed to use them; the answer is the folder.

    name: what the model will be called. config: the whole composed configuration.
    """
    task = job.build(load_weights=False)
    version = job.version
    metrics = {"val": result.metrics, "test": result.test_metrics}
    facts = ModelFacts(
        name=name,
        run=str(config["name"]),
        config=config,
        info=version.info,
        dataset=version.id,
        num_rows={split: version.num_rows(split) for split in version.splits},
        inputs=task.inputs,
        outputs=task.outputs,
        metrics={split: values for split, values in metrics.items() if values},
        primary=task.primary,
        confusion=Confusion.of(version.info.labels, result.tensors.get("confusion")),
        confusion_split=result.tensors_of or "",
    )
    assets = files.join(job.run_dir, "assets")
    return export_model(files.join(job.run_dir, "model"), best_weights(job.run_dir), assets, facts)
