"""Networks as they are used: the same function within rounding, without normalisation of its own."""

import copy
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from frih.models.network import Network


def fold_normalization(model: Network) -> Network:
    """A copy for evaluation alone, with each batch normalisation folded into the convolution before it.

    In evaluation both are linear. The weights are multiplied in float64 and rounded once.
    """
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    layers: list[Any] = list(folded.modules())
    for layer in layers:
        if _is_normalized(layer):
            convolution = layer[0]
            kind = convolution.weight.dtype
            transposed = isinstance(convolution, nn.ConvTranspose2d)
            exact = fuse_conv_bn_eval(convolution.double(), layer[1].double(), transpose=transposed)
            layer[0], layer[1] = exact.to(kind), nn.Identity()
    return folded


def _is_normalized(layer: nn.Module) -> bool:
    kinds = nn.Conv2d | nn.ConvTranspose2d, nn.BatchNorm2d
    return type(layer) is nn.Sequential and len(layer) > 1 and all(map(isinstance, layer, kinds))
