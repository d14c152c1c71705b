"""PCT-Net (Guerreiro et al.: Full Resolution Image Harmonization Using Pixel-Wise Color Transformations, CVPR 2023).

A network predicts an affine transformation of the colour for each pixel. At 256 x 256 the parameters need not be enlarged.
"""

import torch
from torch import Tensor, nn

from frih.models.output import ColorSpace
from peer_networks.issam import WIDTHS, Decoder, Encoder
from peer_networks.peer import Peer

PARAMETERS = 12
"""Of a pixel: a 3x3 matrix, row by row, and an offset."""


class PCTNetCNN(Peer):
    """Predicts with iSSAM's U-Net, and blends by its attention map."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(4)
        self.decoder = Decoder()
        self.attention = nn.Conv2d(WIDTHS[0], 1, 1)
        self.to_parameters = nn.Conv2d(WIDTHS[0], PARAMETERS, 1)
        self.color_space = ColorSpace()

    def harmonize(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Composite (B, 3, H, W) in [0, 1] and mask (B, 1, H, W) to the image (B, 3, H, W)."""
        features = self.encoder(torch.cat([self.color_space.normalize(composite), mask], dim=1))
        features = self.decoder(features, mask)
        a = torch.sigmoid(3.0 * self.attention(features))
        return a * transform(composite, self.to_parameters(features)) + (1 - a) * composite


class PCTNetViT(Peer):
    """Predicts with a transformer of nine layers, over patches of 4x4 pixels without positions."""

    def __init__(self, *, width: int = 256, patch: int = 4, layers: int = 9) -> None:
        super().__init__()
        self.embed = nn.Conv2d(4, width, patch, stride=patch)
        layer = nn.TransformerEncoderLayer(width, nhead=2, dim_feedforward=2 * width, activation="gelu")
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.enlarge = nn.ConvTranspose2d(width, PARAMETERS, patch, stride=patch)
        self.to_parameters = nn.Conv2d(PARAMETERS, PARAMETERS, 1)

    def harmonize(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Composite (B, 3, H, W) in [0, 1] and mask (B, 1, H, W) to the image (B, 3, H, W)."""
        x = self.embed(torch.cat([composite, mask], dim=1))
        tokens = self.transformer(x.flatten(2).permute(2, 0, 1))
        x = torch.tanh(self.enlarge(tokens.permute(1, 2, 0).reshape(x.shape)))
        return mask * transform(composite, self.to_parameters(x)) + (1 - mask) * composite


def transform(image: Tensor, parameters: Tensor) -> Tensor:
    """Each pixel's colour (B, 3, H, W) by its own matrix and offset (B, 12, H, W), clamped to [0, 1]."""
    matrix, offset = parameters[:, :9].unflatten(1, (3, 3)), parameters[:, 9:]
    return ((matrix * image.unsqueeze(1)).sum(2) + offset).clamp(0, 1)
