"""Your own images: a trained network as a function from an image and its mask to the harmonized image."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, overload

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
from frih.harmonizing.own_images import AnyImage, Own, check_sizes, check_strength, is_opaque, read_image, read_mask
from frih.harmonizing.stages import staged
from frih.harmonizing.transparency import render_visible
from frih.harmonizing.upsampling import Change, add_change, fit_change
from frih.models import Network
from frih.models.checkpoint import load_checkpoint, rebuild_model, validate
from frih.models.findings import Findings
from frih.models.folding import fold_normalization
from frih.models.locate import locate
from frih.submasks import extract_submasks

PRETRAINED = Path(__file__).parents[1] / "pretrained"
"""The weights that come with the software; README.md in that folder describes them."""
_PIXELS = 8 * 256 * 256
"""The most that a GPU sees at once in :meth:`Harmonizer.batch`, at the network's size."""


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


class _Seen(NamedTuple):
    """What the network is given of an image."""

    composite: np.ndarray
    """(S, S, 3) uint8."""
    soft: np.ndarray
    """(S, S) uint8, the mask."""
    labels: np.ndarray
    """(S, S) uint8."""


class _Predicted(NamedTuple):
    """What the network makes of it: RGB in [0, 1], (S, S, 3) each."""

    composite: np.ndarray
    coarse: np.ndarray
    refined: np.ndarray
    finite: bool
    """Whether it is, before clamping."""


class Harmonizer:
    """Harmonizes images with a trained network.

    For example::

        >>> harmonizer = Harmonizer.load()  # or Harmonizer.load("runs/frih")
        >>> result = harmonizer("composite.png", "mask.png")
        >>> result.save("result.png")
        >>> cautious = harmonizer(np.asarray(result), "mask.png", strength=0.5)  # an array, as it came

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
        self.model = fold_normalization(model).to(device)
        """A copy, whose normalisation is folded into its convolutions."""
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
        image: AnyImage | Own,
        mask: AnyImage,
        strength: float | None = None,
        *,
        return_details: Literal[True],
        invert_mask: bool = False,
    ) -> tuple[Image.Image | np.ndarray, Details]: ...
    def __call__(
        self,
        image: AnyImage | Own,
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
        strength = self._checked(strength)
        own, cover = _read(image, mask, invert_mask)
        details, change = self.look(own.pixels, cover, own.name)
        result = _changed(own, cover, change, strength)
        return (result, details) if return_details else result

    def batch(
        self, images: Iterable[AnyImage], masks: Iterable[AnyImage], strength: float | None = None
    ) -> Iterator[Image.Image | np.ndarray]:
        """Harmonizes many images, with the results of single calls; on a GPU several at once.

        What comes before and after the network runs on other cores meanwhile. On a CPU the results are equal to the bit. On
        a GPU they are within rounding, which depends on how many images it is given. ``python benchmarks/batch.py`` measures
        the time::

            >>> photos = sorted(Path("photos").iterdir())
            >>> masks = (Path("masks") / f"{photo.stem}.png" for photo in photos)
            >>> for photo, result in zip(photos, harmonizer.batch(photos, masks)):
            ...     result.save(f"{photo.stem}-harmonized.png")

        Args:
            images: as above, of any sizes and kinds. They are taken a little ahead of the results, never all at once.
            masks: one an image; ``itertools.repeat(mask)`` gives all of them the same.
            strength: as above.

        Yields:
            The results in order, as above.

        Raises:
            UserError: as above, naming the image's number as well, once the results before it are out.
        """
        for number, outcome in enumerate(self.outcomes(images, masks, strength)):
            if isinstance(outcome, UserError):
                raise _numbered(outcome, number)
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome[0]

    def outcomes(
        self,
        images: Iterable[AnyImage | Own],
        masks: Iterable[AnyImage],
        strength: float | None = None,
        *,
        invert_mask: bool = False,
    ) -> Iterator[tuple[Image.Image | np.ndarray, Details] | Exception]:
        """As :meth:`batch`, for programs that go on after a failure, or need details.

        Yields:
            For each image the result and its :class:`Details`; or the exception that a single call would raise.

        Raises:
            UserError: the strength is none; there are fewer masks than images.
        """
        strength = self._checked(strength)

        def begin(pair: tuple[AnyImage | Own, AnyImage]) -> tuple[Own, np.ndarray, _Seen]:
            own, cover = _read(*pair, invert_mask)
            return own, cover, self._see(own.pixels, cover)

        def together(begun: Sequence[tuple[Own, np.ndarray, _Seen]]) -> list[_Predicted]:
            return self._predict([seen for _, _, seen in begun])

        def finish(
            begun: tuple[Own, np.ndarray, _Seen], predicted: _Predicted
        ) -> tuple[Image.Image | np.ndarray, Details]:
            own, cover, seen = begun
            details, change = self._understand(seen, predicted, own.name)
            return _changed(own, cover, change, strength, threads=1), details

        at_once = 1 if self.device.type == "cpu" else max(1, _PIXELS // self.size**2)
        return staged(_pairs(images, masks), begin, together, finish, at_once)

    def frames(
        self, images: Iterable[AnyImage], masks: Iterable[AnyImage], strength: float | None = None
    ) -> Iterator[Image.Image | np.ndarray]:
        """Harmonizes images one after the other, each when it is asked for.

        Args:
            images: as above, of any sizes and kinds.
            masks: one an image; ``itertools.repeat(mask)`` gives all of them the same.
            strength: as above.

        Raises:
            UserError: as above, naming the image's number as well.
        """
        for number, (image, mask) in enumerate(_pairs(images, masks)):
            try:
                result: Image.Image | np.ndarray = self(image, mask, strength)
            except UserError as error:
                raise _numbered(error, number) from None
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
        seen = self._see(pixels, cover)
        [predicted] = self._predict([seen])
        return self._understand(seen, predicted, name)

    def _checked(self, strength: float | None) -> float:
        strength = self.findings.strength if strength is None else strength
        check_strength(strength)
        return strength

    def _see(self, pixels: np.ndarray, cover: np.ndarray) -> _Seen:
        """Makes what the network is to see."""
        grey = Image.fromarray(cover)
        soft = render(grey, whole(grey), self.size)
        composite = render_visible(pixels, soft >= HALF, self.size)
        labels = extract_submasks(composite, soft >= HALF, **self.config.submasks.without_files.model_dump())
        return _Seen(composite, soft, labels)

    def _predict(self, seen: Sequence[_Seen]) -> list[_Predicted]:
        """What the network makes of some images, all at once."""
        composites, softs, labels = (torch.from_numpy(np.stack(column)) for column in zip(*seen, strict=True))
        x, inside = network_input(composites, softs, self.device)
        with torch.inference_mode():
            out = self.model(x, inside, labels)
            refined = torch.where(inside > 0, out.refined.clamp(0, 1), x)
        finite = torch.stack([planes.isfinite().flatten(1).all(dim=1) for planes in out]).all(dim=0).tolist()
        arrays = (planes.permute(0, 2, 3, 1).cpu().numpy() for planes in (x, out.coarse.clamp(0, 1), refined))
        return [_Predicted(*parts) for parts in zip(*arrays, finite, strict=True)]

    def _understand(self, seen: _Seen, predicted: _Predicted, name: str) -> tuple[Details, Change | None]:
        """The change that a prediction is at the network's size; see :meth:`look`."""
        if not predicted.finite:
            raise UserError(f"{name}: the network's prediction is not finite (NaN or infinite); take other weights")
        mask, added = seen.soft >= HALF, predicted.refined - predicted.composite
        known = notes(seen.composite, mask, added, self.findings.limits)
        coarse = np.rint(255 * predicted.coarse).astype(np.uint8)
        details = Details(seen.composite, seen.labels, coarse, added, known)
        if not mask.any():
            return details, None
        soft = seen.soft.astype(np.float32) / 255
        return details, fit_change(predicted.composite, predicted.refined, mask, soft, seen.labels)


def _read(image: AnyImage | Own, mask: AnyImage, invert_mask: bool) -> tuple[Own, np.ndarray]:
    """An image and its mask, (H, W) uint8."""
    own, cover = read_image(image), read_mask(mask)
    check_sizes(own.pixels, cover, (own.name, str(mask) if isinstance(mask, str | Path) else "mask"))
    return own, 255 - cover if invert_mask else cover


def _changed(
    own: Own, cover: np.ndarray, change: Change | None, strength: float, threads: int | None = None
) -> Image.Image | np.ndarray:
    """An image with a change, in the form it came in."""
    pixels = own.pixels.copy()
    if change is not None:
        shown = cover if is_opaque(pixels) else np.where(pixels[..., 3] > 0, cover, 0)
        add_change(change, pixels, shown, strength, threads)
    return own.give_back(pixels)


Kind = TypeVar("Kind")


def _pairs(images: Iterable[Kind], masks: Iterable[AnyImage]) -> Iterator[tuple[Kind, AnyImage]]:
    """Each image with its mask.

    Raises:
        UserError: there are fewer masks.
    """
    masks = iter(masks)
    for number, image in enumerate(images):
        try:
            mask = next(masks)
        except StopIteration:
            raise UserError(f"masks: there are only {number}, fewer than images") from None
        yield image, mask


def _numbered(error: UserError, number: int) -> UserError:
    return UserError(f"image {number}, counted from 0: {error}")
