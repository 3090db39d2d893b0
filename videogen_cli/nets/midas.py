"""MiDaS v3: relative inverse depth of single images by a dense prediction transformer.

Ranftl et al., "Vision Transformers for Dense Prediction" (arXiv 2103.13413); structure and names are those of
ali-vilab/videocomposer, artist/models/midas.py (MiDaS), which differ from isl-org/MiDaS's.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import GELU, Conv2d, ConvTranspose2d, LayerNorm, Linear, ReLU, Sequential
from videogen_cli.nets.params.midas import STAGES, MiDaSParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList, Init, parameter

_HEAD_CHANNELS = 32


class MiDaS(Cell):
    """Images to depth: four maps of a vision transformer, refined from the coarsest to the finest.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: MiDaSParams) -> None:
        super().__init__()
        params.check()
        width, fusion, necks = params.width, params.fusion_channels, params.neck_channels
        self.grid, self.layers_per_stage = params.grid, params.layers // STAGES
        self.cls_embedding = parameter((1, 1, width))
        self.pos_embedding = parameter((1, params.grid**2 + 1, width), Init("normal", 0.02))
        self.patch_embedding = Conv2d(3, width, params.patch_size, stride=params.patch_size, padding=(0, 0, 0, 0))
        self.blocks = CellList([AttentionBlock(width, params.heads) for _ in range(params.layers)])
        self.fc1, self.fc2, self.fc3, self.fc4 = (Sequential(Linear(2 * width, width), GELU()) for _ in range(STAGES))
        self.conv1 = Sequential(
            Conv2d(width, necks[0], 1), ConvTranspose2d(necks[0], necks[0], 4, stride=4), _last_conv(necks[0], fusion)
        )
        self.conv2 = Sequential(
            Conv2d(width, necks[1], 1), ConvTranspose2d(necks[1], necks[1], 2, stride=2), _last_conv(necks[1], fusion)
        )
        self.conv3 = Sequential(Conv2d(width, necks[2], 1), _last_conv(necks[2], fusion))
        self.conv4 = Sequential(
            Conv2d(width, necks[3], 1), Conv2d(necks[3], necks[3], stride=2), _last_conv(necks[3], fusion)
        )
        self.fusion1, self.fusion2, self.fusion3, self.fusion4 = (FusionBlock(fusion) for _ in range(STAGES))
        self.head = Sequential(
            Conv2d(fusion, fusion // 2),
            DoubleSize(),
            Conv2d(fusion // 2, _HEAD_CHANNELS),
            ReLU(),
            ConvTranspose2d(_HEAD_CHANNELS, 1, 1),
            ReLU(),
        )

    def construct(self, images: Any) -> Any:
        """Map images (n 3 h w) in [-1, 1], h and w multiples of twice the patch size, to depth (n 1 h w), 0 and up."""
        patches = self.patch_embedding(images)
        n, width, h, w = patches.shape
        first = F.broadcast_to(self.cls_embedding.astype(patches.dtype), (n, 1, width))
        x = F.concat([first, F.permute(patches.reshape(n, width, -1), (0, 2, 1))], 1) + self._positions(h, w)
        maps: Any = ()
        for stage, readout in enumerate((self.fc1, self.fc2, self.fc3, self.fc4)):
            start = stage * self.layers_per_stage
            for block in self.blocks[start : start + self.layers_per_stage]:
                x = block(x)
            tokens = x[:, 1:]
            tokens = readout(F.concat([tokens, F.broadcast_to(x[:, :1], tokens.shape)], -1))
            maps += (F.permute(tokens, (0, 2, 1)).reshape(n, width, h, w),)
        x = self.fusion4(self.conv4(maps[3]))
        x = self.fusion3(x, self.conv3(maps[2]))
        x = self.fusion2(x, self.conv2(maps[1]))
        return self.head(self.fusion1(x, self.conv1(maps[0])))

    def _positions(self, h: int, w: int) -> Any:
        """Return the position table (1 1+h*w width) for a grid of h by w patches."""
        table = self.pos_embedding
        if (h, w) == (self.grid, self.grid):
            return table
        width = table.shape[2]
        image = F.permute(table[:, 1:].reshape(1, self.grid, self.grid, width), (0, 3, 1, 2))
        resized = F.permute(F.resize(image, (h, w), "bilinear").reshape(1, width, h * w), (0, 2, 1))
        return F.concat([table[:, :1], resized], 1)


def _last_conv(channels: int, fusion: int) -> Conv2d:
    return Conv2d(channels, fusion, bias=False)


class AttentionBlock(Cell):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(width)
        self.attn = SelfAttention(width, heads)
        self.norm2 = LayerNorm(width)
        self.mlp = Sequential(Linear(width, 4 * width), GELU(), Linear(4 * width, width))

    def construct(self, x: Any) -> Any:
        """Map (n l width) to itself."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SelfAttention(Cell):
    """Self-attention with queries, keys and values from one layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

    def construct(self, x: Any) -> Any:
        """Map (n l width) to itself."""
        q, k, v = F.chunk(self.to_qkv(x), 3, -1)
        return self.proj(F.attention(q, k, v, self.heads))


class ResidualBlock(Cell):
    """Two convolutions with a residual, rectified before each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = Sequential(ReLU(), Conv2d(channels, channels), ReLU(), Conv2d(channels, channels))

    def construct(self, x: Any) -> Any:
        """Map (n channels h w) to itself."""
        return x + self.residual(x)


class FusionBlock(Cell):
    """Adds a finer map to what came from the coarser ones, and doubles the size.

    ``layer1`` of the coarsest is in the published files and does nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer1 = ResidualBlock(channels)
        self.layer2 = ResidualBlock(channels)
        self.conv_out = Conv2d(channels, channels, 1)
        self.double = DoubleSize()

    def construct(self, x: Any, finer: Any = None) -> Any:
        """Map x and ``finer`` (n channels h w) to (n channels 2h 2w)."""
        if finer is not None:
            x = x + self.layer1(finer)
        return self.conv_out(self.double(self.layer2(x)))


class DoubleSize(Cell):
    """Doubles height and width bilinearly, corners staying in the corners."""

    def construct(self, x: Any) -> Any:
        """Map (n c h w) to (n c 2h 2w)."""
        return F.resize(x, (2 * x.shape[2], 2 * x.shape[3]), "bilinear", align_corners=True)
