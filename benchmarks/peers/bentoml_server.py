"""What one writes with BentoML for the same model: started by `serve_vs_litserve.py`."""

import json
import os
from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers.opened import opened

REFERENCE, STORAGE, THREADS, MODE = json.loads(os.environ["PEER"])
IS_DEFAULT = MODE == "defaults"


@bentoml.service(traffic={"timeout": 60})
class Photos:
    """A predictor, in BentoML's worker."""

    def __init__(self) -> None:
        """Open the model."""
        self.predictor = opened(REFERENCE, STORAGE, THREADS, "eager" if IS_DEFAULT else "auto")

    @bentoml.api(batchable=not IS_DEFAULT, max_batch_size=16, max_latency_ms=60_000)
    def predict(self, image: list[Path] if not IS_DEFAULT else Path) -> list[Any]:  # type: ignore[valid-type]
        """One answer for each image."""
        paths = [image] if isinstance(image, Path) else image
        rows = [{"image": path.read_bytes()} for path in paths]
        return list(self.predictor(rows))
