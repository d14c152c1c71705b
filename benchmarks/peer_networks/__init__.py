"""Networks of the shape of other harmonization networks, untrained, to measure what they cost.

Each is written anew after its paper and the widths of its released code. It has their layers, so it has their cost; it cannot
load their weights. Every one is a :class:`frih.models.network.Network` of one stage, in PyTorch's usual layout. Parameters are
within 0.5 % of the published ones, multiply-adds within 1 %.
"""

from collections.abc import Callable

from peer_networks.dovenet import DoveNet
from peer_networks.duconet import DucoNet
from peer_networks.harmonizer import HarmonizerLike
from peer_networks.idih import IDIH
from peer_networks.issam import ISSAM
from peer_networks.pctnet import PCTNetCNN, PCTNetViT
from peer_networks.peer import Peer

PEERS: dict[str, Callable[[], Peer]] = {
    "iDIH256": IDIH,
    "iSSAM256": ISSAM,
    "Harmonizer": HarmonizerLike,
    "PCT-Net CNN": PCTNetCNN,
    "PCT-Net ViT": PCTNetViT,
    "DoveNet": DoveNet,
    "DucoNet": DucoNet,
}
"""What builds each."""
