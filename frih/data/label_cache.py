"""A cache of labels on disk, for images that are evaluated often.

The name of an entry is a digest of everything that determines its labels: the rendered composite and mask, the settings of the
clustering, and its version. So a changed image is clustered again, and an old entry does no harm. Entries are written
atomically, and any number of processes may share a folder.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from frih.common.errors import UserError
from frih.common.files import write_whole
from frih.submasks import extract_submasks

CLUSTERING = 1
"""Raise it with every change of :mod:`frih.submasks` that gives other labels."""


class LabelCache:
    """:func:`~frih.submasks.extract_submasks` with a memory.

    Args:
        folder: is made with the first entry. Entries lie in subfolders of the first two letters of their names.
        settings: keyword arguments of ``extract_submasks``.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = settings
        self.about = json.dumps([CLUSTERING, dict(sorted(settings.items()))]).encode()

    def labels(self, composite: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Labels: read from the cache, or computed and written.

        Args:
            composite: (H, W, 3) uint8, RGB.
            mask: (H, W) bool.

        Returns:
            (H, W) uint8.

        Raises:
            UserError: the entry cannot be written.
        """
        path = self._path(composite, mask)
        found = _read(path, mask)
        if found is not None:
            return found
        labels = extract_submasks(composite, mask, **self.settings)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, zlib.compress(labels.tobytes(), 1))
        except OSError as error:
            raise UserError(
                f"data.label_cache: {self.folder} cannot be written ({error}); give another folder, or leave the key out"
            ) from None
        return labels

    def _path(self, composite: np.ndarray, mask: np.ndarray) -> Path:
        digest = hashlib.sha256(self.about + str(mask.shape).encode())
        digest.update(np.ascontiguousarray(composite).data)
        digest.update(np.packbits(mask).data)
        name = digest.hexdigest()[:40]
        return self.folder / name[:2] / f"{name}.z"


def _read(path: Path, mask: np.ndarray) -> np.ndarray | None:
    """The labels of an entry; None if there is none, or if zlib's checksum or the mask show that it is damaged."""
    try:
        content = zlib.decompress(path.read_bytes())
    except (OSError, zlib.error):
        return None
    if len(content) != mask.size:
        return None
    labels = np.frombuffer(content, np.uint8).reshape(mask.shape).copy()
    return labels if np.array_equal(labels > 0, mask) else None
