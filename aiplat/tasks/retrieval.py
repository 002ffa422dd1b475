"""How well images find their captions and captions their images, over a whole split."""

import torch
from torch import Tensor
from torchmetrics import Metric

_CHUNK_ROWS = 1024


class Retrieval(Metric):
    """The share of rows whose partner is among the `k` nearest, for several `k` and both ways.

    Captions that read the same are one caption: an image looks for its caption among the distinct
    ones, and a caption is found by any image that carries it. Without this, copies of the right
    answer would fill the first places and count as wrong.
    """

    higher_is_better = True
    full_state_update = False
    image: list[Tensor]
    text: list[Tensor]
    caption: list[Tensor]

    def __init__(self, ks: tuple[int, ...] = (1, 5)) -> None:
        super().__init__()
        self.ks = ks
        for name in ("image", "text", "caption"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, image: Tensor, text: Tensor, caption: Tensor) -> None:
        """Unit embeddings (rows, width) of images and texts, and a number for each caption."""
        self.image.append(image)
        self.text.append(text)
        self.caption.append(caption)

    def compute(self) -> dict[str, Tensor]:
        """`image_to_text_at_k` and `text_to_image_at_k` for every k."""
        image, text, caption = (_joined(state) for state in (self.image, self.text, self.caption))
        distinct, of_row = torch.unique(caption, return_inverse=True)
        first = torch.full((len(distinct),), len(caption), device=caption.device)
        rows = torch.arange(len(caption), device=caption.device)
        first = first.scatter_reduce(0, of_row, rows, "amin")
        found = {}
        for k in self.ks:
            to_text = _hits(image, of_row, text[first], torch.arange(len(distinct)), k)
            to_image = _hits(text[first], torch.arange(len(distinct)), image, of_row, k)
            found[f"image_to_text_at_{k}"] = to_text.float().mean()
            # A caption counts as often as it occurs.
            found[f"text_to_image_at_{k}"] = to_image[of_row].float().mean()
        return found


def _joined(state: list[Tensor] | Tensor) -> Tensor:
    """Ranks reduced make one tensor of the list."""
    return state if isinstance(state, Tensor) else torch.cat(state)


def _hits(query: Tensor, wanted: Tensor, items: Tensor, names: Tensor, k: int) -> Tensor:
    """For each query, whether one of its `k` nearest items bears the wanted name."""
    hits = []
    for start in range(0, len(query), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        nearest = (query[part] @ items.T).topk(min(k, len(items)), dim=1).indices
        hits.append((names[nearest] == wanted[part, None]).any(dim=1))
    return torch.cat(hits)
