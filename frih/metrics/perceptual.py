"""LPIPS (Zhang et al. 2018), computed by the authors' package ``lpips``: how different a network finds two images.

The package has its own few weights, but not those of the AlexNet below them. Nothing here downloads these: they are read from a
file that the user names, or from torchvision's cache.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from frih.common.errors import UserError, need

FILE = "alexnet-owt-7be5be79.pth"
SOURCE = f"https://download.pytorch.org/models/{FILE}"
"""torchvision's AlexNet, trained on ImageNet."""

Distance = Callable[[np.ndarray, np.ndarray], float]
"""The distance of two images (H, W, 3), 0..255."""


def load_lpips(weights: str | None = None) -> Distance:
    """The distance by AlexNet (LPIPS 0.1), on the CPU.

    Args:
        weights: torchvision's file of AlexNet's weights; by default the one in torchvision's cache.

    Raises:
        UserError: the package or the weights are missing, or the file holds something else.
    """
    path = Path(weights) if weights else Path(torch.hub.get_dir(), "checkpoints", FILE)
    if not path.is_file():
        raise UserError(
            f"evaluation.lpips: {path}: no such file; get AlexNet's weights from {SOURCE} and name the file"
        )
    return _load(path)


@lru_cache(maxsize=1)
def _load(path: Path) -> Distance:
    need("lpips", extra="lpips")
    import lpips

    with warnings.catch_warnings():  # lpips calls torchvision by deprecated names
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        # lpips divides torchvision's ``features`` into slices: ``slice1.0.weight`` is ``features.0.weight``
        names = {name: f"features.{name.partition('.')[2]}" for name in network.net.state_dict()}
        network.net.load_state_dict({name: found[theirs] for name, theirs in names.items()})
    except Exception:  # a damaged or another file makes torch raise anything
        raise UserError(f"evaluation.lpips: {path}: does not hold AlexNet's weights; get them from {SOURCE}") from None

    def distance(image: np.ndarray, real: np.ndarray) -> float:
        pair = (torch.from_numpy(np.asarray(one, dtype=np.float32)) for one in (image, real))
        first, second = (one.permute(2, 0, 1)[None] / 127.5 - 1 for one in pair)
        with torch.inference_mode():
            return float(network(first, second))

    return distance
