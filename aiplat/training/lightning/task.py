"""A task whose model is a LightningModule, trained by the module's own code.

The task still says what the rows are, measures and answers: registering and serving need no more.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import MetricCollection

from aiplat.datasets.versions import ROW_ID
from aiplat.errors import ConfigError
from aiplat.tasks.task import Batch, InputField, OutputField, Rows, Task
from aiplat.training.hooks import Hooks
from aiplat.training.lightning.journal import Journal
from aiplat.training.lightning.optimizers import ModuleSchedule, parse_optimizers
from aiplat.training.lightning.support import check_supported, left_aside, overrides
from aiplat.training.lightning.trainer import TrainerView
from aiplat.training.recipe import Recipe
from aiplat.training.snapshot import Position

_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_KINDS = {"val": "validation", "test": "test"}


class LightningTask(Hooks):
    """`task` with the loss, optimizer and hooks of its model.

    Raises ConfigError where the module wants what the loop cannot do.
    """

    def __init__(self, task: Task) -> None:
        check_supported(task.model)
        self.task = task
        self.model: Any = task.model
        self.primary, self.maximize, self.coupled = task.primary, task.maximize, task.coupled
        self.journal = Journal(self.model)
        # In the instance, so that `log_dict` and the module's own code find it first.
        self.model.__dict__["log"] = self.journal.log
        self.schedule: ModuleSchedule | None = None
        self.num_batches = 0
        self.takes_index = {
            name: _takes_index(getattr(self.model, name))
            for name in ("training_step", "validation_step", "test_step")
            if overrides(self.model, name)
        }

    @property
    def inputs(self) -> tuple[InputField, ...]:
        """See `Task`."""
        return self.task.inputs

    @property
    def outputs(self) -> tuple[OutputField, ...]:
        """See `Task`."""
        return self.task.outputs

    @property
    def columns(self) -> tuple[str, ...]:
        """See `Task`."""
        return self.task.columns

    def encode(self, rows: Rows, augment: bool = False) -> Batch:
        """See `Task`."""
        return self.task.encode(rows, augment)

    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        """See `Task`."""
        return self.task.predict(batch)

    def metrics(self) -> MetricCollection:
        """The task's; those of the module come with `end_split`."""
        return self.task.metrics()

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The module's training step, and what it logged."""
        given = self._given(batch, "train")
        if self.model.on_train_batch_start(given, self.num_batches) == -1:
            raise ConfigError(
                "model: on_train_batch_start returned -1 to skip the epoch's rest, but every row "
                "is trained on once an epoch: return None"
            )
        return _loss_of(self._step("training_step", given)), self.journal.take_step()

    def measure(self, batch: Batch, metrics: MetricCollection) -> None:
        """The task's metrics, and the module's validation or test step."""
        self.task.measure(batch, metrics)
        name = f"{_KINDS[self.trainer.stage]}_step"
        if name in self.takes_index:
            self._step(name, self._given(batch, self.trainer.stage))

    def begin(self, position: Position, recipe: Recipe, rank: int, device: torch.device) -> None:
        """Give the module its trainer and device. See `Hooks`."""
        self.trainer = TrainerView(position, recipe, rank)
        self.model.trainer = self.trainer
        # Moved with what wraps it, the module would not know its device.
        self.model.to(device)
        self._call("on_fit_start", "on_train_start")

    def notes(self) -> list[str]:
        """Which of the module's methods are not called."""
        names = ", ".join(left_aside(self.model))
        return [f"rows come from the dataset: {names} of the model are not called"] if names else []

    def optimizer(self) -> tuple[Optimizer, ModuleSchedule | None] | None:
        """What the module's `configure_optimizers` makes."""
        if not overrides(self.model, "configure_optimizers"):
            return None
        optimizer, self.schedule = parse_optimizers(self.model.configure_optimizers())
        self.trainer.optimizers.append(optimizer)
        if self.schedule:
            self.trainer.lr_scheduler_configs.append(self.schedule)
        if overrides(self.model, "on_before_optimizer_step"):
            before = self.model.on_before_optimizer_step
            optimizer.register_step_pre_hook(lambda stepped, *_: before(stepped))
        if overrides(self.model, "on_before_zero_grad"):
            after = self.model.on_before_zero_grad
            optimizer.register_step_post_hook(lambda stepped, *_: after(stepped))
        return optimizer, self.schedule

    def begin_epoch(self) -> None:
        """See `Hooks`."""
        self.trainer.stage = "train"
        self.num_batches = self.trainer.first_batch
        self._call("on_train_epoch_start")

    def end_epoch(self, metrics: dict[str, float]) -> dict[str, float]:
        """The module's end of the epoch, then its schedule. See `Hooks`."""
        self.trainer.callback_metrics.update(metrics)
        self._call("on_train_epoch_end")
        logged = self.journal.take_epoch()
        self.trainer.callback_metrics.update(logged)
        if self.schedule:
            self.schedule.end_epoch({**metrics, **logged}, is_measured=bool(metrics))
        return logged

    def begin_split(self, split: str) -> None:
        """See `Hooks`."""
        self.trained = self.journal.set_aside()
        self.trainer.stage, self.num_batches = split, 0
        self._call(f"on_{_KINDS[split]}_start", f"on_{_KINDS[split]}_epoch_start")

    def end_split(self, split: str) -> dict[str, float]:
        """See `Hooks`."""
        self._call(f"on_{_KINDS[split]}_epoch_end", f"on_{_KINDS[split]}_end")
        measured = self.journal.take_epoch()
        self.journal.take_back(self.trained)
        self.trainer.stage = ""
        return measured

    def end(self) -> None:
        """See `Hooks`."""
        self._call("on_train_end", "on_fit_end")

    def state_dict(self) -> dict[str, Any]:
        """What the module's `on_save_checkpoint` adds."""
        state: dict[str, Any] = {}
        self.model.on_save_checkpoint(state)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Hand it to the module's `on_load_checkpoint`."""
        self.model.on_load_checkpoint(state)

    def _given(self, batch: Batch, stage: str) -> Any:
        """What a step of the module is called with; notes whose rows it logs of."""
        self.journal.is_step, self.journal.weight = stage == "train", len(batch[ROW_ID])
        return self.model.on_after_batch_transfer(batch, 0)

    def _step(self, name: str, given: Any) -> Any:
        """Call a step of the module with the arguments it takes."""
        index = self.num_batches
        self.num_batches += 1
        step = getattr(self.model, name)
        return step(given, index) if self.takes_index[name] else step(given)

    def _call(self, *hooks: str) -> None:
        """Hooks of an epoch, in which each rank's log counts alike."""
        self.journal.is_step, self.journal.weight = False, 1
        for hook in hooks:
            getattr(self.model, hook)()


def _takes_index(step: Callable[..., Any]) -> bool:
    """Whether a step takes the batch's index after the batch. Raises ConfigError."""
    parameters = inspect.signature(step).parameters.values()
    required = [
        parameter.name
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty and parameter.kind not in _STARRED
    ]
    if len(required) > 2 or "dataloader_iter" in required:
        raise ConfigError(
            f"model: {step.__name__} takes ({', '.join(required)}), expected (batch, batch_idx): "
            "there is one loader"
        )
    return len(parameters) > 1 or any(parameter.kind in _STARRED for parameter in parameters)


def _loss_of(answer: Any) -> Tensor:
    loss = answer.get("loss") if isinstance(answer, dict) else answer
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise ConfigError(
            f"model: training_step returned {type(loss).__name__}, expected the loss of the batch "
            "as a tensor of one number, or a dict with it as 'loss'"
        )
    return loss.reshape(())
