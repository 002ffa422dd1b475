"""Which layers of a pretrained network train: all, those from layer k on, or none."""

from collections.abc import Sequence

from torch import nn

from aiplat.errors import ConfigError


def freeze(
    network: nn.Module,
    layers: Sequence[nn.Module],
    train_from_layer: int | None,
    after: Sequence[nn.Module] = (),
) -> list[nn.Module]:
    """Stop the gradients of `network` below the first layer to train; return what is to `rest`.

    layers: the blocks from input to output. after: what follows the last of them, and so trains
    with it. train_from_layer: 0 = everything, k = the layers from the k-th on and what follows,
    None = nothing.
    """
    if train_from_layer is None:
        network.requires_grad_(False)
        return [network]
    if not 0 <= train_from_layer <= len(layers):
        raise ConfigError(
            f"model.train_from_layer is {train_from_layer}, but {type(network).__name__} has "
            f"{len(layers)} layers: give 0 (all) to {len(layers)} (what follows them only), "
            "or null (nothing)"
        )
    if train_from_layer == 0:
        return []
    network.requires_grad_(False)
    for part in (*layers[train_from_layer:], *after):
        part.requires_grad_(True)
    return [part for part in network.modules() if _is_frozen(part)]


def rest(frozen: Sequence[nn.Module]) -> None:
    """Put what is frozen into eval mode, where dropout is off; to call at the end of `train`."""
    for part in frozen:
        for module in part.modules():
            # Not .eval(): the network itself may be among them, and that is how it came here.
            module.training = False


def _is_frozen(part: nn.Module) -> bool:
    wanted = [parameter.requires_grad for parameter in part.parameters()]
    return bool(wanted) and not any(wanted)
