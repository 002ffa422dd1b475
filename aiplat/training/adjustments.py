"""What a run learned from its failures and keeps in its folder, so that it holds in all attempts.

None of it changes how many rows a step has.
"""

from dataclasses import asdict, dataclass, replace

from aiplat.store import files
from aiplat.training.recipe import Recipe

_FILE = "adjustments.json"


@dataclass(frozen=True)
class Adjustments:
    """split: the parts that each micro-batch is cut into, for it did not fit into memory.

    skipped: the steps whose batch makes the loss NaN; their rows count as trained on.
    """

    split: int = 1
    skipped: tuple[int, ...] = ()

    def halved(self) -> "Adjustments":
        """With micro-batches of half the size."""
        return replace(self, split=2 * self.split)

    def skipping(self, step: int) -> "Adjustments":
        """Without an update at `step`."""
        return replace(self, skipped=(*self.skipped, step))

    def applied(self, recipe: Recipe) -> Recipe:
        """The recipe with smaller micro-batches, of which a step has more."""
        loop = replace(recipe.loop, accumulate=recipe.loop.accumulate * self.split)
        return replace(recipe, loop=loop)


def read_adjustments(run_dir: str) -> Adjustments:
    """Those of a run; none where nothing failed yet."""
    path = files.join(run_dir, _FILE)
    if not files.exists(path):
        return Adjustments()
    found = files.read_json(path)
    return Adjustments(split=found["split"], skipped=tuple(found["skipped"]))


def write_adjustments(run_dir: str, adjustments: Adjustments) -> None:
    """Keep them for the attempts to come."""
    files.write_json(files.join(run_dir, _FILE), asdict(adjustments))
