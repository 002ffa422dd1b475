"""The root of each job, and what nobody but the user can say of it."""

from typing import Any

from aiplat.jobs import schema

ROOTS: dict[str, type[Any]] = {
    "drill": schema.DrillConfig,
    "evaluate": schema.EvaluateConfig,
    "ingest": schema.IngestConfig,
    "logs": schema.LogsConfig,
    "optimize": schema.OptimizeConfig,
    "predict": schema.PredictConfig,
    "register": schema.RegisterJobConfig,
    "serve": schema.ServeConfig,
    "train": schema.TrainConfig,
    "tune": schema.TrainConfig,
}
REQUIRED = {
    "drill": ["+exp=clip"],
    "evaluate": ["model=shapes@champion"],
    "ingest": ["source=imagefolder", "source.path=photos"],
    "logs": ["run=shapes"],
    "optimize": ["model=shapes@champion"],
    "predict": ["model=shapes@champion", "input.dataset=shapes"],
    "register": ["run=shapes", "name=shapes"],
    "serve": ["models=[shapes@champion]"],
    "train": ["+exp=clip"],
    "tune": ["+exp=digits_mlp"],
}
