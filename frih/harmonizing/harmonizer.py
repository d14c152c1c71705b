"""Your own images: a trained network as a function from an image and its mask to the harmonized image."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, overload

import numpy as np
import torch
from PIL import Image

from frih.common.devices import choose_device
from frih.common.errors import UserError
from frih.config import Config
from frih.data.batches import network_input
from frih.data.images import HALF
from frih.data.transforms import render, whole
from frih.harmonizing.kinds import notes
from frih.harmonizing.own_images import AnyImage, check_sizes, is_opaque, read_image, read_mask
from frih.harmonizing.transparency import render_visible
from frih.harmonizing.upsampling import Change, add_change, fit_change
from frih.models import Network
from frih.models.checkpoint import load_checkpoint, rebuild_model, validate
from frih.models.findings import Findings
from frih.models.locate import locate
from frih.submasks import extract_submasks

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""The weights that come with the software; README.md in that folder describes them."""


class Details(NamedTuple):
    """What the network made of an image, at its own size S."""

    composite: np.ndarray
    """(S, S, 3) uint8, the image as the network saw it."""
    labels: np.ndarray
    """(S, S) uint8: 0 = background, k = submask k. All 0 if at this size no pixel of the mask reaches one half."""
    coarse: np.ndarray
    """(S, S, 3) uint8, the first stage's whole image."""
    change: np.ndarray
    """(S, S, 3) float32: what the second stage adds to the composite, RGB in [-1, 1]; 0 outside the mask."""
    notes: tuple[str, ...] = ()
    """For each kind of the image on which these weights are known to do harm, what was measured
    (:mod:`frih.harmonizing.kinds`)."""


class Harmonizer:
    """Harmonizes images with a trained network.

    The network sees the image at the size it was trained for, unless another is given. Its change of the colours is carried
    over to the image's own size (:mod:`frih.harmonizing.upsampling`) and added inside the mask, so detail stays, and so does
    every pixel outside.
    """

    def __init__(
        self,
        model: Network,
        config: Config,
        device: torch.device,
        size: int | None = None,
        findings: Findings = Findings(),  # noqa: B008 - it is frozen
    ) -> None:
        self.model = model.to(device).eval()
        self.config = config
        self.device = device
        self.findings = findings
        """The weights' own strength, and the limits that are known of them."""
        self.size = config.data.size if size is None else size
        if config.submasks.method == "given" and model.refines:
            raise UserError(
                "submasks.method: these weights were trained with given submasks, which an image of one's own has not; "
                "train with another method"
            )
        if self.size < 128 or self.size % 128:
            raise UserError(f"size: must be a multiple of 128, for the network halves it seven times, not {size}")

    @classmethod
    def load(
        cls, path_or_name: str | Path = PRETRAINED, device: str | torch.device = "auto", size: int | None = None
    ) -> "Harmonizer":
        """Loads trained weights.

        Args:
            path_or_name: a run's folder, for its last checkpoint; a checkpoint, or a file or a folder of shared weights; or
                ``hf://user/name`` (:mod:`frih.tools.sharing.hub`); by default :data:`PRETRAINED`.
            device: as PyTorch names it, ``"cpu"``, ``"cuda:1"``, ``"xpu"``, ``"mps"``; ``"auto"`` takes a GPU if there is one.
            size: side in pixels at which the network sees images, a multiple of 128; by default that of its training.

        Raises:
            UserError: the weights are missing, damaged, not finite or another program's; no such device; the size is none.
        """
        path = locate(path_or_name)
        content = load_checkpoint(path)
        model, config = rebuild_model(content, path)
        findings = validate(Findings, content.get("findings", {}), path, "findings")
        return cls(model, config, choose_device(device), size, findings)

    @overload
    def __call__(
        self, image: np.ndarray, mask: AnyImage, strength: float | None = None, *, invert_mask: bool = False
    ) -> np.ndarray: ...
    @overload
    def __call__(
        self,
        image: Image.Image | str | Path,
        mask: AnyImage,
        strength: float | None = None,
        *,
        invert_mask: bool = False,
    ) -> Image.Image: ...
    @overload
    def __call__(
        self,
        image: AnyImage,
        mask: AnyImage,
        strength: float | None = None,
        *,
        return_details: Literal[True],
        invert_mask: bool = False,
    ) -> tuple[Image.Image | np.ndarray, Details]: ...
    def __call__(
        self,
        image: AnyImage,
        mask: AnyImage,
        strength: float | None = None,
        return_details: bool = False,
        invert_mask: bool = False,
    ) -> Image.Image | np.ndarray | tuple[Image.Image | np.ndarray, Details]:
        """Harmonizes one image.

        Args:
            image: a PIL image, RGB or RGBA; an array (H, W, 3 or 4) of uint8, uint16 or floating point in [0, 1]; or a file of
                8 bits, which is turned upright by its EXIF orientation.
            mask: a PIL image, an array (H, W), or a file, of the image's size. White is foreground, greys blend. Of a cut-out
                foreground (with alpha) the alpha channel is the mask.
            strength: share of the network's change that is made, 0 to 1; by default the weights' own, which is 1 unless they
                name another (``findings.strength``).
            return_details: return a pair with :class:`Details` as well.
            invert_mask: black is foreground.

        Returns:
            The image in the form it came in: an array as an array of its type, everything else as a PIL image, with alpha,
            colour profile and metadata. Outside the mask it is the input; without foreground, everywhere. So are the colours
            of transparent pixels, which the network does not see (:mod:`frih.harmonizing.transparency`).

        Raises:
            UserError: a file cannot be read; the image is of a kind that has no room for new colours (greyscale, palette,
                CMYK); the mask is coloured or holds label numbers; image and mask differ in size; values are not finite, in
                the image or in the network's prediction.
        """
        strength = self.findings.strength if strength is None else strength
        if not 0 <= strength <= 1:
            raise UserError(f"strength: must be from 0 (no change) to 1 (the network's), not {strength:g}")
        own, cover = read_image(image), read_mask(mask)
        names = own.name, str(mask) if isinstance(mask, str | Path) else "mask"
        check_sizes(own.pixels, cover, names)
        cover = 255 - cover if invert_mask else cover
        details, change = self.look(own.pixels, cover, own.name)
        pixels = own.pixels.copy()
        if change is not None:
            seen = cover if is_opaque(pixels) else np.where(pixels[..., 3] > 0, cover, 0)
            add_change(change, pixels, seen, strength)
        result = own.give_back(pixels)
        return (result, details) if return_details else result

    def frames(
        self, images: Iterable[AnyImage], masks: Iterable[AnyImage], strength: float | None = None
    ) -> Iterator[Image.Image | np.ndarray]:
        """Harmonizes images one after the other, each when it is asked for.

        Args:
            images: as above, of any sizes and kinds.
            masks: one an image; ``itertools.repeat(mask)`` gives all of them the same.
            strength: as above.

        Raises:
            UserError: as above, naming the image's number where it has no name.
        """
        masks = iter(masks)
        for number, image in enumerate(images):
            try:
                mask = next(masks)
            except StopIteration:
                raise UserError(f"masks: there are only {number}, fewer than images") from None
            try:
                result: Image.Image | np.ndarray = self(image, mask, strength)
            except UserError as error:
                raise UserError(f"image {number}, counted from 0: {error}") from None
            yield result

    def look(self, pixels: np.ndarray, cover: np.ndarray, name: str = "image") -> tuple[Details, Change | None]:
        """What the network makes of an image, for programs that add its change themselves, as to a video.

        Args:
            pixels: (H, W, 3 or 4), as above.
            cover: (H, W) uint8, the mask; 255 = foreground.
            name: for messages.

        Returns:
            The change at the network's size, for :func:`frih.harmonizing.upsampling.add_change`; None if it sees no foreground.
        """
        size = self.size
        grey = Image.fromarray(cover)
        soft = render(grey, whole(grey), size)
        mask = soft >= HALF
        composite = render_visible(pixels, mask, size)
        labels = extract_submasks(composite, mask, **self.config.submasks.without_files.model_dump())
        x, inside = network_input(torch.from_numpy(composite[None]), torch.from_numpy(soft[None]), self.device)
        with torch.inference_mode():
            out = self.model(x, inside, torch.from_numpy(labels[None]))
            refined = torch.where(inside > 0, out.refined.clamp(0, 1), x)
        if not all(planes.isfinite().all() for planes in out):
            raise UserError(f"{name}: the network's prediction is not finite (NaN or infinite); take other weights")
        coarse, seen, predicted = (_array(planes) for planes in (out.coarse.clamp(0, 1), x, refined))
        added = predicted - seen
        known = notes(composite, mask, added, self.findings.limits)
        details = Details(composite, labels, np.rint(255 * coarse).astype(np.uint8), added, known)
        if not mask.any():
            return details, None
        return details, fit_change(seen, predicted, mask, soft.astype(np.float32) / 255, labels)


def _array(planes: torch.Tensor) -> np.ndarray:
    """An image (1, 3, H, W) as (H, W, 3), on the CPU."""
    array: np.ndarray = planes[0].permute(1, 2, 0).cpu().numpy()
    return array
