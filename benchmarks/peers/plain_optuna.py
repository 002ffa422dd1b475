"""What one writes without aiplat: one process, Optuna's optimize, a loop over a DataLoader.

The same network, rows, search space, sampler, pruner, epochs and number of trials as the search it
is compared with. Prints, as JSON, the best value, the seconds and what came of each trial.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from aiplat.models.tabular import TabularNetwork


def rows(shards: list[str], means: Tensor, stds: Tensor) -> TensorDataset:
    """A split in memory, as the network takes it."""
    table = pa.concat_tables([pq.read_table(path) for path in shards])
    names = [name for name in table.column_names if name.startswith("pixel_")]
    values = torch.tensor(np.stack([table.column(name).to_numpy() for name in names], axis=1))
    numbers = ((values - means) / stds).float()
    missing = torch.zeros_like(numbers)
    categories = torch.zeros(len(numbers), 0, dtype=torch.long)
    labels = torch.tensor(table.column("label").to_numpy(), dtype=torch.long)
    return TensorDataset(numbers, missing, categories, labels)


def main() -> None:
    """Search as the plan says; it is a JSON file."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(plan["threads"])
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    means, stds = torch.tensor(plan["means"]), torch.tensor(plan["stds"])
    train, val = (rows(plan[split], means, stds) for split in ("train", "val"))

    def objective(trial: optuna.Trial) -> float:
        torch.manual_seed(0)
        lr = trial.suggest_float("optim.lr", 1e-4, 1e-1, log=True)
        decay = trial.suggest_float("optim.weight_decay", 1e-5, 1e-1, log=True)
        batch_size = trial.suggest_categorical("dataset.batch_size", [32, 64, 128])
        dropout = trial.suggest_float("model.dropout", 0.0, 0.5)
        model = TabularNetwork(10, 64, [], plan["widths"], dropout)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay, fused=True)
        loader = DataLoader(train, batch_size=batch_size, shuffle=True)
        steps = plan["max_epochs"] * len(loader)
        schedule = OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
        best = 0.0
        for epoch in range(1, plan["max_epochs"] + 1):
            model.train()
            for *inputs, labels in loader:
                with torch.autocast("cpu", torch.bfloat16, enabled=plan["precision"] == "bf16"):
                    loss = functional.cross_entropy(model(*inputs), labels)
                loss.backward()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
            score = accuracy(model, val)
            best = max(best, score)
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return best

    study = optuna.create_study(
        storage=f"sqlite:///{plan['folder']}/plain-{plan['seed']}.db",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=plan["seed"], multivariate=True, group=True),
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=plan["min_epochs"], reduction_factor=plan["reduction_factor"]
        ),
    )
    began_at = time.time()
    study.optimize(objective, n_trials=plan["num_trials"])
    result: dict[str, Any] = {
        "best": study.best_value,
        "seconds": time.time() - plan["launched_at"],
        "search_s": time.time() - began_at,
        "epochs": sum(len(trial.intermediate_values) for trial in study.trials),
    }
    print(json.dumps(result))


def accuracy(model: TabularNetwork, split: TensorDataset) -> float:
    """Of all rows of a split at once."""
    model.eval()
    *inputs, labels = split.tensors
    with torch.no_grad():
        return float((model(*inputs).argmax(dim=1) == labels).float().mean())


if __name__ == "__main__":
    main()
