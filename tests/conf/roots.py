"""The root of each job, and what nobody but the user can say of it."""

from typing import Any

from aiplat.jobs import cluster_schema, schema, serving_schema

ROOTS: dict[str, type[Any]] = {
    "cluster": cluster_schema.ClusterJobConfig,
    "doctor": cluster_schema.DoctorConfig,
    "drill": schema.DrillConfig,
    "evaluate": schema.EvaluateConfig,
    "ingest": schema.IngestConfig,
    "keys": schema.KeysConfig,
    "logs": schema.LogsConfig,
    "optimize": schema.OptimizeConfig,
    "predict": schema.PredictConfig,
    "register": schema.RegisterJobConfig,
    "release": serving_schema.ReleaseConfig,
    "serve": schema.ServeConfig,
    "submit": cluster_schema.SubmitConfig,
    "train": schema.TrainConfig,
    "tune": schema.TrainConfig,
    "usage": serving_schema.UsageConfig,
    "why": serving_schema.WhyConfig,
}
REQUIRED = {
    "cluster": [],
    "doctor": [],
    "drill": ["+exp=clip"],
    "evaluate": ["model=shapes@champion"],
    "ingest": ["source=imagefolder", "source.path=photos"],
    "keys": ["owner=acme"],
    "logs": ["run=shapes"],
    "optimize": ["model=shapes@champion"],
    "predict": ["model=shapes@champion", "input.dataset=shapes"],
    "register": ["run=shapes", "name=shapes"],
    "release": ["model=shapes"],
    "serve": ["models=[shapes@champion]"],
    "submit": [],
    "train": ["+exp=clip"],
    "tune": ["+exp=digits_mlp"],
    "usage": [],
    "why": ["prediction=0123"],
}
