"""One's own picture: a trained network behind a function from a picture and its mask to the harmonized picture."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from frih.checkpoint import find_checkpoint, load_model
from frih.config import Config
from frih.data.pictures import HALF, as_mask, as_rgb, open_mask, open_rgb
from frih.data.transforms import render, whole
from frih.distributed import choose_device
from frih.errors import UserError
from frih.models import FRIH
from frih.submasks import extract_submasks

Picture = Image.Image | np.ndarray | str | Path


class Harmonizer:
    """Harmonizes pictures with a trained network.

    The network sees the picture at the size it was trained for. Its change of the colours is enlarged to the picture's own
    size (bicubic) and added inside the mask, so detail stays, and so does every pixel outside the mask.
    """

    def __init__(self, model: FRIH, config: Config, device: torch.device) -> None:
        self.model = model.to(device).eval()
        self.config = config
        self.device = device

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> "Harmonizer":
        """Loads a checkpoint.

        Args:
            path: a run's folder, for its last checkpoint, or a checkpoint.
            device: ``"auto"``, ``"cpu"`` or ``"cuda"``.

        Raises:
            UserError: the checkpoint is missing, damaged or another program's; there is no GPU.
        """
        model, config = load_model(find_checkpoint(Path(path)))
        return cls(model, config, choose_device(device))

    def __call__(self, image: Picture, mask: Picture) -> np.ndarray:
        """Harmonizes one picture.

        Args:
            image: a path, a PIL image, or an array (H, W, 3) uint8.
            mask: a path, a PIL image, or an array (H, W), uint8 with 255 = foreground, or boolean; of the picture's size.
                Grey borders blend.

        Returns:
            (H, W, 3) uint8, of the picture's own size; without foreground, the picture unchanged.

        Raises:
            UserError: a file cannot be read, or picture and mask differ in size.
        """
        picture, cover = _as_picture(image), _as_mask(mask)
        if picture.size != cover.size:
            sizes = ["{} x {}".format(*one.size) for one in (picture, cover)]
            raise UserError(
                f"{_name(mask)}: is {sizes[1]} pixels but {_name(image)} is {sizes[0]}; give a mask of its size"
            )
        size = self.config.data.size
        small = render(picture, whole(picture), size)
        foreground = render(cover, whole(cover), size) >= HALF
        own = np.array(picture)
        if not foreground.any():
            return own
        change = self._change(small, foreground)
        large = (
            F.interpolate(change, size=own.shape[:2], mode="bicubic", align_corners=False)[0].permute(1, 2, 0).numpy()
        )
        weight = np.asarray(cover, dtype=np.float32)[..., None] / 255
        result: np.ndarray = np.rint(np.clip(own + 255 * large * weight, 0, 255)).astype(np.uint8)
        return result

    def _change(self, composite: np.ndarray, foreground: np.ndarray) -> Tensor:
        """What the network adds to a picture of its own size: (1, 3, size, size), RGB in [-1, 1], on the CPU."""
        labels = extract_submasks(composite, foreground, **self.config.submasks.model_dump())
        x = torch.from_numpy(composite).to(self.device).permute(2, 0, 1)[None].float() / 255
        mask = torch.from_numpy(foreground).to(self.device)[None, None].float()
        with torch.inference_mode():
            out = self.model(x, mask, torch.from_numpy(labels).to(self.device)[None])
        change: Tensor = out.refined.clamp(0, 1) - x
        return change.cpu()


def _as_picture(image: Picture) -> Image.Image:
    if isinstance(image, str | Path):
        return open_rgb(Path(image))
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UserError(f"image: must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
        return Image.fromarray(image)
    return as_rgb(image, "image")


def _as_mask(mask: Picture) -> Image.Image:
    if isinstance(mask, str | Path):
        return open_mask(Path(mask))
    if isinstance(mask, np.ndarray):
        if mask.dtype not in (np.uint8, np.bool_) or mask.ndim != 2:
            raise UserError(f"mask: must be (H, W) uint8 or bool, not {mask.shape} {mask.dtype}")
        return Image.fromarray(mask.astype(np.uint8) * 255 if mask.dtype == np.bool_ else mask)
    return as_mask(mask, "mask")


def _name(picture: Picture) -> str:
    return str(picture) if isinstance(picture, str | Path) else "the picture"
