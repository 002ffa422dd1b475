"""What of a LightningModule's code the loop calls, what it leaves aside, and what it refuses."""

from torch import nn

from aiplat.errors import ConfigError

_MODULE = "LightningModule"
_PACKAGES = ("lightning", "pytorch_lightning")

_EVALUATED = ("validation", "test")
CALLED = frozenset(
    {
        "training_step",
        "configure_optimizers",
        "on_fit_start",
        "on_train_start",
        "on_train_epoch_start",
        "on_train_batch_start",
        "on_before_optimizer_step",
        "on_before_zero_grad",
        "on_train_epoch_end",
        "on_train_end",
        "on_fit_end",
        "on_after_batch_transfer",
        "on_save_checkpoint",
        "on_load_checkpoint",
        *(f"{kind}_step" for kind in _EVALUATED),
        *(f"on_{kind}_{when}" for kind in _EVALUATED for when in ("start", "end")),
        *(f"on_{kind}_epoch_{when}" for kind in _EVALUATED for when in ("start", "end")),
    }
)

# The rows come from the dataset version, and answers from the task.
_LEFT_ASIDE = (
    "prepare_data",
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "predict_dataloader",
    "predict_step",
    "teardown",
)

# To leave one of these uncalled would train something else than its author thinks.
_REFUSED = {
    "setup": "build everything in __init__",
    "configure_model": "build everything in __init__",
    "configure_sharded_model": "build everything in __init__",
    "configure_callbacks": "callbacks of Lightning's Trainer are not run",
    "backward": "the loop runs the backward pass",
    "on_before_backward": "the loop runs the backward pass",
    "on_after_backward": "look at gradients in on_before_optimizer_step",
    "optimizer_step": "the loop steps; warm up in the schedule of configure_optimizers",
    "optimizer_zero_grad": "the loop clears the gradients",
    "configure_gradient_clipping": "set loop.clip_norm",
    "lr_scheduler_step": "schedules step by interval and frequency, or by a monitored metric",
    "transfer_batch_to_device": "the loader moves batches; change them in on_after_batch_transfer",
    "on_before_batch_transfer": "change batches in on_after_batch_transfer",
    "on_train_batch_end": "use on_before_zero_grad, which is called after every optimizer step",
    "log": "self.log is the platform's: give your method another name",
    **{
        f"on_{kind}_batch_{when}": f"put it into {kind}_step"
        for kind in _EVALUATED
        for when in ("start", "end")
    },
    **{
        f"on_{kind}_model_{mode}": "the loop switches between training and evaluation"
        for kind in _EVALUATED
        for mode in ("eval", "train", "zero_grad")
    },
}


def is_lightning(model: nn.Module) -> bool:
    """Whether the model is a LightningModule; told without importing Lightning."""
    return any(_is_framework(kind) for kind in type(model).__mro__)


def overrides(module: nn.Module, name: str) -> bool:
    """Whether the module's author wrote this method of LightningModule anew."""
    for kind in type(module).__mro__:
        if name in vars(kind):
            return kind.__module__.partition(".")[0] not in _PACKAGES
    return False


def left_aside(module: nn.Module) -> list[str]:
    """The author's methods that are not called here."""
    return [name for name in _LEFT_ASIDE if overrides(module, name)]


def check_supported(module: nn.Module) -> None:
    """Raise ConfigError naming everything that the loop could not do as the author meant it."""
    name = type(module).__name__
    faults = []
    if not getattr(module, "automatic_optimization", True):
        faults.append("automatic_optimization is False: the loop steps the optimizer")
    if not overrides(module, "training_step"):
        faults.append("it has no training_step")
    faults += [f"{hook}: {why}" for hook, why in _REFUSED.items() if overrides(module, hook)]
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise ConfigError(
            f"model: {name} cannot be trained by this loop:\n{listed}\nchange these in {name}, or "
            "train it by Lightning's own Trainer"
        )


def _is_framework(kind: type) -> bool:
    return kind.__name__ == _MODULE and kind.__module__.partition(".")[0] in _PACKAGES
