"""What one writes without aiplat: a script for torchrun with DataLoader, DDP and autocast.

The same model, rows, batch, precision, optimizer and number of processes as the run it is compared
with. Prints, as JSON, seconds to the first batch and rows a second after it.
"""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from aiplat.config.targets import build

# The first steps allocate, and a loader's workers are still filling its queue.
WARM_STEPS = 10


class Rows(Dataset[dict[str, Tensor]]):
    """Rows of the training split, decoded one by one."""

    def __init__(self, table: pa.Table, tokenizer: Tokenizer | None, size: int) -> None:
        images: Any = table.column("image").combine_chunks()
        self.images = images.field("bytes")
        self.texts = table.column("text") if tokenizer else None
        self.labels = table.column("label").to_numpy()
        self.tokenizer = tokenizer
        self.size = size

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = Image.open(io.BytesIO(self.images[index].as_py())).convert("RGB")
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size))
        row = {
            "image": torch.from_numpy(np.array(image)).permute(2, 0, 1),
            "label": int(self.labels[index]),
        }
        if self.tokenizer is not None and self.texts is not None:
            row["tokens"] = torch.tensor(self.tokenizer.encode(self.texts[index].as_py()).ids)
        return row


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Stack a batch; texts are padded to the longest."""
    batch = {
        "image": torch.stack([row["image"] for row in rows]),
        "label": torch.tensor([row["label"] for row in rows]),
    }
    if "tokens" in rows[0]:
        batch["tokens"] = nn.utils.rnn.pad_sequence([row["tokens"] for row in rows], True)
    return batch


def scores(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The model's class scores of a batch."""
    if "tokens" not in batch:
        return model(batch["image"])
    present = torch.ones(len(batch["label"]), dtype=torch.bool)
    return model(batch["image"], present, batch["tokens"], batch["tokens"] != 0, present)


def main() -> None:
    """Train for a number of steps and print how fast that was; the plan is a JSON file."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    processes = distributed.get_world_size()
    module = build(plan["model"], num_classes=plan["num_classes"])
    model = DistributedDataParallel(module)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokenizer = Tokenizer.from_file(plan["tokenizer"]) if plan["tokenizer"] else None
    table = pa.concat_tables([pq.read_table(path) for path in plan["shards"]]).combine_chunks()
    rows = Rows(table, tokenizer, module.image_size)
    loader = DataLoader(
        rows,
        batch_size=plan["batch_size"] // processes,
        sampler=DistributedSampler(rows),
        num_workers=plan["loader_workers"],
        collate_fn=collate,
    )
    model.train()
    first, begun, step = 0.0, 0.0, 0
    for step, batch in zip(range(plan["steps"]), loader, strict=False):
        if step == 0:
            first = time.time() - plan["launched_at"]
        if step == WARM_STEPS:
            begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=plan["precision"] == "bf16"):
            loss = functional.cross_entropy(scores(model, batch), batch["label"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    rows_per_s = (step + 1 - WARM_STEPS) * plan["batch_size"] / (time.perf_counter() - begun)
    if distributed.get_rank() == 0:
        print(json.dumps({"first_batch_s": first, "rows_per_s": rows_per_s}))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
