"""The network: :mod:`~frih.models.unet` (stage one), :mod:`~frih.models.cascade` and :mod:`~frih.models.fusion` (stage two).

Shapes, in every file here: B images of H x W pixels, both divisible by 128; P (image, submask) pairs, the sum of the
images' K; layer i of an encoder has C_i channels at H / 2^i x W / 2^i.
"""

from frih.models.build import build_model
from frih.models.frih import FRIH
from frih.models.network import Harmonized, Network

__all__ = ["FRIH", "Harmonized", "Network", "build_model"]
