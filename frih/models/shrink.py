"""Smaller changes where a network finds little to change: there it is wrong more often than right."""

from torch import Tensor

from frih.config.keys import Ramp


def shrink_change(image: Tensor, composite: Tensor, mask: Tensor, ramp: Ramp) -> Tensor:
    """Scales each image's change by its own size: composite + s (image - composite).

    c is the mean size of the change over the foreground and the channels, in levels of 0..255, and ::

        s = most clip((c - low) / (full - low), 0, 1)

    Args:
        image: (B, 3, H, W), what a network makes of the composite; RGB in [0, 1].
        composite: (B, 3, H, W).
        mask: (B, 1, H, W), 1 = foreground.
        ramp: (low, full, most). Changes of up to ``low`` levels become none; from ``full`` levels on they are taken ``most``
            times.

    Returns:
        (B, 3, H, W).
    """
    low, full, most = ramp
    change = (image - composite).float()  # a sum over pixels exceeds float16
    inside = mask.float()
    pixels = inside.sum(dim=(1, 2, 3)).clamp(min=1) * change.shape[1]
    size = 255 * (change.abs() * inside).sum(dim=(1, 2, 3)) / pixels
    share = most * ((size - low) / (full - low)).clamp(0, 1)
    return composite + (share.view(-1, 1, 1, 1) * change).to(composite)
