"""One space for images and texts, learned from the pairs of a batch (CLIP, Radford et al. 2021)."""

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aiplat.tasks.columns import require_all, values_of
from aiplat.tasks.fields import InputField, OutputField
from aiplat.tasks.images import ImageColumn
from aiplat.tasks.labels import LabelColumn
from aiplat.tasks.task import Batch, Rows
from aiplat.tasks.texts import TextColumn

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

# The rows of all ranks in rank order, and the index of the first of this rank's own.
Gather = Callable[[Tensor], tuple[Tensor, int]]


def alone(rows: Tensor) -> tuple[Tensor, int]:
    """The gathering of a process without peers."""
    return rows, 0


class Contrastive:
    """Pull each image towards its caption and away from the captions of the batch's other rows.

    Rows whose captions read the same all count as matches of each other. Told apart, as plain
    InfoNCE does, they would be pushed away from what describes them just as well; left out, an
    image would learn from one caption in place of all it matches.

    Labels are never trained on: an image gets the label whose prompt is nearest (zero-shot).
    prompt: `{label}` in it is replaced by each label. gather: what the other ranks' rows come by,
    set by whoever trains on several; the loss is then that of the global batch.
    """

    primary = "accuracy"
    maximize = True
    coupled = True

    def __init__(
        self,
        model: nn.Module,
        image: ImageColumn,
        text: TextColumn,
        label: LabelColumn,
        prompt: str = "{label}",
    ) -> None:
        self.model = model
        self.image = image
        self.text = text
        self.label = label
        self.gather: Gather = alone
        prompts = [prompt.replace("{label}", name) for name in label.labels]
        self.prompts, self.prompt_mask, _ = text.encode(prompts)

    @property
    def inputs(self) -> tuple[InputField, ...]:
        """The image to label."""
        return (self.image.field(),)

    @property
    def outputs(self) -> tuple[OutputField, ...]:
        """The nearest label, and how much nearer than the others it is."""
        return self.label.outputs

    @property
    def columns(self) -> tuple[str, ...]:
        """The pair, and the label to score zero-shot answers by."""
        return (self.image.name, self.text.name, self.label.name)

    def encode(self, rows: Rows, augment: bool = False) -> Batch:
        """`image`, and where the rows have them `tokens`, `mask`, `caption` (an id), `label`."""
        pixels, present = self.image.encode(values_of(rows, self.image.name), augment)
        require_all(present, self.image.name)
        batch = {"image": pixels}
        if self.text.name in rows:
            captions = rows[self.text.name]
            batch["tokens"], batch["mask"], present = self.text.encode(captions)
            require_all(present, self.text.name)
            batch["caption"] = torch.tensor([_caption_id(caption) for caption in captions])
        if self.label.name in rows:
            batch["label"] = self.label.encode(rows[self.label.name])
        return batch

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over this rank's rows of the cross entropies of finding one's matches."""
        image, text, scale = self.model(batch["image"], batch["tokens"], batch["mask"])
        all_images, _ = self.gather(image)
        all_texts, _ = self.gather(text)
        all_captions, _ = self.gather(batch["caption"])
        matches = (batch["caption"][:, None] == all_captions).float()
        target = matches / matches.sum(dim=1, keepdim=True)
        # Both directions: an image must find its caption, and a caption its image.
        to_text = F.cross_entropy(_likeness(image, all_texts, scale), target)
        to_image = F.cross_entropy(_likeness(text, all_images, scale), target)
        return (to_text + to_image) / 2, {"scale": scale.detach()}

    def metrics(self) -> "MetricCollection":
        """Zero-shot classification over the labels, and retrieval both ways over the split."""
        from torchmetrics import MetricCollection

        from aiplat.tasks.retrieval import Retrieval

        metrics = {**self.label.metrics(), "retrieval": Retrieval()}
        return MetricCollection(dict(metrics), compute_groups=False)

    def measure(self, batch: Batch, metrics: "MetricCollection") -> None:
        """Update the metrics."""
        image, text, scale = self.model(batch["image"], batch["tokens"], batch["mask"])
        self.label.measure(metrics, self._label_scores(image, scale), batch["label"])
        retrieval = metrics["retrieval"]
        retrieval.update(image.cpu(), text.cpu(), batch["caption"].cpu())

    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        """The label whose prompt each image is nearest to, with probabilities over the labels."""
        image, _, scale = self.model(batch["image"])
        return self.label.answers(self._label_scores(image, scale))

    def _label_scores(self, image: Tensor, scale: Tensor) -> Tensor:
        tokens, mask = self.prompts.to(image.device), self.prompt_mask.to(image.device)
        _, prompts, _ = self.model(tokens=tokens, mask=mask)
        return _likeness(image, prompts, scale)


def _likeness(queries: Tensor, items: Tensor, scale: Tensor) -> Tensor:
    """Scaled cosines (queries, items), in fp32: half a digit less and neighbours change places."""
    with torch.autocast(queries.device.type, enabled=False):
        return scale * queries @ items.T


def _caption_id(caption: str) -> int:
    """A number that is the same for captions that differ by case and outer spaces only."""
    digest = blake2b(caption.strip().lower().encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
