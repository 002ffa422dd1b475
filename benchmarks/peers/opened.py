"""The model that peers serve: the very predictor that aiplat's replicas ask, with its engine."""

import sys

import torch

from aiplat.inference.opening import Wanted, open_version
from aiplat.inference.predictor import Predictor
from aiplat.registry.mlflow import Registry


def opened(reference: str, storage: str, threads: int, engine: str) -> Predictor:
    """A model version of the registry. engine: `auto` is the one that `optimize` chose."""
    torch.set_num_threads(threads)
    version = Registry(storage, None).resolve(reference)
    return open_version(version, Wanted(engine, "auto", "cpu", threads))


def arguments() -> tuple[str, str, int, int, bool]:
    """Reference, storage, port, threads, and whether to leave all else at the peer's defaults."""
    reference, storage, port, threads, mode = sys.argv[1:6]
    return reference, storage, int(port), int(threads), mode == "defaults"
