"""The training loop: the same for every task, on every device, in any number of processes."""

from dataclasses import replace

import torch

from aiplat.tasks.task import Task
from aiplat.training.attempt import Attempt
from aiplat.training.collective import among, broadcast_object
from aiplat.training.recipe import Recipe
from aiplat.training.result import FitResult, best_weights, read_result
from aiplat.training.sizing import sized
from aiplat.training.step import train_step
from aiplat.training.triage import survived, watched
from aiplat.training.worker import Worker

__all__ = ["FitResult", "Recipe", "fit"]


def fit(task: Task, worker: Worker, recipe: Recipe) -> FitResult:
    """Train the task's model until the recipe is done, from where the run's folder stands.

    Every rank calls it. A finished run is left as it is. Afterwards the model holds the best
    weights.
    """
    if worker.device.type == "cuda":
        # What ranks say to each other over NCCL goes by way of the current device.
        torch.cuda.set_device(worker.device)
    with among(worker.world_size):
        earlier = broadcast_object(read_result(worker.run_dir) if worker.rank == 0 else None)
        if earlier is not None:
            task.model.load_state_dict(best_weights(worker.run_dir))
            return replace(earlier, already_finished=True)
        recipe = sized(recipe, task, worker)
    with watched(worker, recipe), among(worker.world_size):
        attempt = Attempt(task, worker, recipe)
        with attempt.saver.finishing():
            while attempt.stopped_because is None:
                with survived(attempt):
                    with attempt.epoch() as (plans, batches):
                        for plan in plans:
                            outcome = train_step(attempt.learner, plan, batches)
                            attempt.after_step(plan, outcome)
                    attempt.after_epoch()
        return attempt.finish()
