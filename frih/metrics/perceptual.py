"""LPIPS (Zhang et al. 2018), by the authors' package ``lpips``: how different a network finds two images.

Its own few weights come with the package. Those of the AlexNet below them do not, and nothing here downloads them: they are
taken from a file that the user names, or from where torchvision keeps what it has downloaded.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from frih.common.errors import UserError

FILE = "alexnet-owt-7be5be79.pth"
SOURCE = f"https://download.pytorch.org/models/{FILE}"
"""torchvision's AlexNet, trained on ImageNet."""

Distance = Callable[[np.ndarray, np.ndarray], float]
"""Of two images (H, W, 3), 0..255."""


def load_lpips(weights: str | None = None) -> Distance:
    """The distance by AlexNet (LPIPS 0.1), on the CPU.

    Args:
        weights: torchvision's file of AlexNet's weights; by default the one in torchvision's cache.

    Raises:
        UserError: the package or the weights are missing, or the file holds something else.
    """
    return _load(find_weights(weights))


def find_weights(weights: str | None) -> Path:
    """The file of AlexNet's weights.

    Raises:
        UserError: it is not there.
    """
    import torch

    path = Path(weights) if weights else Path(torch.hub.get_dir(), "checkpoints", FILE)
    if not path.is_file():
        raise UserError(
            f"evaluation.lpips: {path}: no such file; get AlexNet's weights from {SOURCE} and name the file"
        )
    return path


@lru_cache(maxsize=1)
def _load(path: Path) -> Distance:
    import torch

    try:
        import lpips
    except ImportError:
        raise UserError(
            'lpips: is not installed; pip install ".[lpips]" in the project\'s folder, or leave this metric out'
        ) from None
    with warnings.catch_warnings():  # both packages use what is deprecated in the other
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        # lpips parts torchvision's ``features`` into slices; the layers keep their numbers
        network.net.load_state_dict({name: found[_torchvision(name)] for name in network.net.state_dict()})
    except Exception:  # whatever a damaged or another file makes torch raise
        raise UserError(f"evaluation.lpips: {path}: does not hold AlexNet's weights; get them from {SOURCE}") from None

    def distance(image: np.ndarray, real: np.ndarray) -> float:
        first, second = (
            torch.from_numpy(np.asarray(one, dtype=np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
            for one in (image, real)
        )
        with torch.inference_mode():
            return float(network(first, second))

    return distance


def _torchvision(name: str) -> str:
    """``slice1.0.weight`` is ``features.0.weight``."""
    return f"features.{name.partition('.')[2]}"
