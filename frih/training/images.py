"""The images of a run: those that train, those that are held out, and what tells them from others."""

import hashlib
from contextlib import suppress

from frih.config import Config, SubmaskConfig
from frih.data.dataset import CompositeDataset, Restyling, require_foreground
from frih.data.held_out import divide
from frih.data.iharmony4 import Listing
from frih.evaluation import evenly


def datasets(
    listing: Listing, config: Config, restyling: Restyling | None = None
) -> tuple[CompositeDataset, CompositeDataset]:
    """The training images and those held out for validation.

    Raises:
        UserError: no training image has foreground, or no held-out image has.
    """
    training, validation = divide(listing, config)
    require_foreground(training, "the training images")
    require_foreground(validation, "the validation images")
    # without a cascade nothing reads the submasks, so nothing clusters
    submasks = config.submasks if config.model.cascade else SubmaskConfig(method="whole")
    return (
        CompositeDataset(training, config.data, submasks, config.seed, restyling),
        CompositeDataset(validation, config.data, submasks, config.seed),
    )


def fingerprint(listing: Listing) -> str:
    """Identifies a set of images by all their names, in order, and the sizes in bytes of up to 1,000 of them.

    Those of ``validation.list`` count, too.
    """
    digest = hashlib.sha256()
    items = [*listing.items, *(listing.held_out or ())]
    for item in items:
        digest.update(f"{item.subset}/{item.composite_name}\n".encode())
    if listing.held_out is not None:
        digest.update(f"{len(listing.held_out)} held out\n".encode())
    for index in evenly(len(items), 1000):
        item = items[index]
        with suppress(OSError):  # reported when it is read
            digest.update(str([path.stat().st_size for path in (item.composite, item.mask, item.real)]).encode())
    return digest.hexdigest()[:16]
