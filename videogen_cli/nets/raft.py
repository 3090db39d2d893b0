"""RAFT, optical flow by recurrent updates (Teed & Deng, arXiv 2003.12039), under torchvision's names.

Source: torchvision 0.16.2, models/optical_flow/raft.py (``raft_small``): no learned upsampling, instance norm in the
feature encoder, no norm in the context encoder.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.nets.layers import Conv2d, Identity, Sequential, constant
from videogen_cli.nets.params.raft import STRIDE, RAFTParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell


class RAFT(Cell):
    """Two images to the flow between them.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: RAFTParams) -> None:
        super().__init__()
        params.check()
        self.params = params
        self.feature_encoder = Encoder(params.feature_widths, normalise=True)
        self.context_encoder = Encoder(params.context_widths, normalise=False)
        self.update_block = UpdateBlock(params)
        radius = params.correlation_radius
        self.offsets = constant(np.arange(-radius, radius + 1, dtype=np.float32))

    def construct(self, first: Any, second: Any) -> Any:
        """Return the flow (n 2 h w), x then y in pixels, from images ``first`` to ``second`` (n 3 h w).

        Images are in [-1, 1]; h and w are multiples of 8 and at least 16 * 2^(correlation_levels - 1).
        """
        return self.flow(self.feature_encoder(first), self.feature_encoder(second), self.context_encoder(first))

    def video_flow(self, frames: Any) -> Any:
        """Return the flow (b f-1 2 h w) between consecutive frames (b f 3 h w); each frame is encoded once."""
        b, f, _, height, width = frames.shape
        flat = frames.reshape(b * f, 3, height, width)
        features = self.feature_encoder(flat)
        _, c, h, w = features.shape
        features = features.reshape(b, f, c, h, w)
        first, second = features[:, :-1].reshape(-1, c, h, w), features[:, 1:].reshape(-1, c, h, w)
        context = self.context_encoder(frames[:, :-1].reshape(-1, 3, height, width))
        return self.flow(first, second, context).reshape(b, f - 1, 2, height, width)

    def flow(self, first: Any, second: Any, context: Any) -> Any:
        """Return the flow (n 2 8h 8w) from features (n c h w) of both images and the first one's context."""
        params, (n, c, h, w) = self.params, first.shape
        hidden = F.tanh(context[:, : params.hidden_channels])
        context = F.relu(context[:, params.hidden_channels :])
        volume = F.matmul(F.permute(first.reshape(n, c, -1), (0, 2, 1)), second.reshape(n, c, -1)) * c**-0.5
        levels = (volume.reshape(n * h * w, h, w),)
        for _ in range(params.correlation_levels - 1):
            levels = (*levels, _halve(levels[-1]))
        start = F.concat(
            [
                F.broadcast_to(F.arange(w).astype(first.dtype).reshape(1, 1, 1, w), (n, 1, h, w)),
                F.broadcast_to(F.arange(h).astype(first.dtype).reshape(1, 1, h, 1), (n, 1, h, w)),
            ],
            1,
        )
        place = start
        for _ in range(params.updates):
            place = F.stop_gradient(place)
            hidden, step = self.update_block(hidden, context, self.correlations(levels, place), place - start)
            place = place + step
        return STRIDE * F.resize(place - start, (STRIDE * h, STRIDE * w), "bilinear", align_corners=True)

    def correlations(self, levels: Any, place: Any) -> Any:
        """Return the correlations (n levels*(2r+1)^2 h w) around positions ``place`` (n 2 h w) on every level.

        A window lies on a grid one apart, so interpolation is a product with a matrix from either side: a tap's
        weight is 1 minus its distance, if that is positive. What lies outside is zero. x varies slowest, as published.
        """
        n, _, h, w = place.shape
        found = ()
        for level, volume in enumerate(levels):
            x = _taps(place[:, 0].reshape(-1, 1) / 2**level + self.offsets, volume.shape[2])
            y = _taps(place[:, 1].reshape(-1, 1) / 2**level + self.offsets, volume.shape[1])
            window = F.matmul(F.matmul(x, F.permute(volume, (0, 2, 1))), F.permute(y, (0, 2, 1)))
            found = (*found, window.reshape(n, h, w, -1))
        return F.permute(F.concat(found, -1), (0, 3, 1, 2))


def _taps(points: Any, size: int) -> Any:
    """Return the weights (q k size) of ``size`` samples at ``points`` (q k) for linear interpolation."""
    distance = points.reshape(*points.shape, 1) - F.arange(size).astype(points.dtype)
    return F.relu(1.0 - F.maximum(distance, -distance))


def _halve(volume: Any) -> Any:
    """Average 2x2 windows of (q h w); an odd last row or column is left out."""
    q, h, w = volume.shape
    even = F.leading(F.leading(volume, h // 2 * 2, 1), w // 2 * 2, 2)
    windows = even.reshape(q, h // 2, 2, w // 2, 2)
    return F.mean(F.mean(windows, 4), 2)


class ConvUnit(Sequential):
    """A convolution, instance norm on wish, and ReLU unless ``linear``."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        normalise: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__(Conv2d(in_channels, channels, kernel, stride=stride))
        self.normalise, self.linear = normalise, linear

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h/stride w/stride)."""
        x = self.steps[0](x)
        if self.normalise:
            centred = x - F.mean(x, (2, 3), True)
            x = centred / F.sqrt(F.mean(centred * centred, (2, 3), True) + 1e-5)
        return x if self.linear else F.relu(x)


class Bottleneck(Cell):
    """Three convolutions, a quarter as wide in between, around a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, normalise: bool) -> None:
        super().__init__()
        inner = channels // 4
        self.convnormrelu1 = ConvUnit(in_channels, inner, 1, normalise=normalise)
        self.convnormrelu2 = ConvUnit(inner, inner, 3, stride=stride, normalise=normalise)
        self.convnormrelu3 = ConvUnit(inner, channels, 1, normalise=normalise)
        self.downsample: Any = Identity()
        if stride > 1:
            self.downsample = ConvUnit(in_channels, channels, 1, stride=stride, normalise=normalise, linear=True)

    def construct(self, x: Any) -> Any:
        """Map (n in_channels h w) to (n channels h/stride w/stride)."""
        return F.relu(self.downsample(x) + self.convnormrelu3(self.convnormrelu2(self.convnormrelu1(x))))


class Encoder(Cell):
    """Images to features at an eighth of their size; ``widths`` are those of stem, three stages and output."""

    def __init__(self, widths: list[int], normalise: bool) -> None:
        super().__init__()
        stem, first, second, third, out = widths
        self.convnormrelu = ConvUnit(3, stem, 7, stride=2, normalise=normalise)
        self.layer1 = Sequential(Bottleneck(stem, first, 1, normalise), Bottleneck(first, first, 1, normalise))
        self.layer2 = Sequential(Bottleneck(first, second, 2, normalise), Bottleneck(second, second, 1, normalise))
        self.layer3 = Sequential(Bottleneck(second, third, 2, normalise), Bottleneck(third, third, 1, normalise))
        self.conv = Conv2d(third, out, 1)

    def construct(self, images: Any) -> Any:
        """Map (n 3 h w) to (n out h/8 w/8)."""
        return self.conv(self.layer3(self.layer2(self.layer1(self.convnormrelu(images)))))


class MotionFeatures(Cell):
    """Correlations and flow to what an update reads (torchvision's ``MotionEncoder``)."""

    def __init__(self, params: RAFTParams) -> None:
        super().__init__()
        widths, flows = params.correlation_convs, params.flow_convs
        self.convcorr1 = ConvUnit(params.correlations, widths[0], 1)
        self.convcorr2: Any = ConvUnit(widths[0], widths[1], 3) if len(widths) == 2 else Identity()
        self.convflow1 = ConvUnit(2, flows[0], 7)
        self.convflow2 = ConvUnit(flows[0], flows[1], 3)
        self.conv = ConvUnit(widths[-1] + flows[1], params.motion_channels - 2, 3)

    def construct(self, flow: Any, correlations: Any) -> Any:
        """Map flow (n 2 h w) and correlations (n c h w) to (n motion_channels h w), the flow last."""
        seen = self.convcorr2(self.convcorr1(correlations))
        moved = self.convflow2(self.convflow1(flow))
        return F.concat([self.conv(F.concat([seen, moved], 1)), flow], 1)


class ConvGRU(Cell):
    """A gated recurrent unit of convolutions."""

    def __init__(self, in_channels: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.convz = Conv2d(hidden + in_channels, hidden, kernel)
        self.convr = Conv2d(hidden + in_channels, hidden, kernel)
        self.convq = Conv2d(hidden + in_channels, hidden, kernel)

    def construct(self, hidden: Any, x: Any) -> Any:
        """Map hidden (n hidden h w) to itself, reading x (n in_channels h w)."""
        both = F.concat([hidden, x], 1)
        update, reset = F.sigmoid(self.convz(both)), F.sigmoid(self.convr(both))
        candidate = F.tanh(self.convq(F.concat([reset * hidden, x], 1)))
        return (1.0 - update) * hidden + update * candidate


class RecurrentBlock(Cell):
    """One or two gated units in a row, named ``convgru1`` and ``convgru2``."""

    def __init__(self, params: RAFTParams) -> None:
        super().__init__()
        inputs = params.context_channels + params.motion_channels
        units = [ConvGRU(inputs, params.hidden_channels, kernel) for kernel in params.recurrent_kernels]
        for index, unit in enumerate(units):
            setattr(self, f"convgru{index + 1}", unit)
        self.units = tuple(units)

    def construct(self, hidden: Any, x: Any) -> Any:
        """Map hidden (n hidden h w) to itself, reading x (n c h w)."""
        for unit in self.units:
            hidden = unit(hidden, x)
        return hidden


class FlowHead(Cell):
    """The hidden state to a change of flow."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.conv1 = Conv2d(hidden, width)
        self.conv2 = Conv2d(width, 2)

    def construct(self, hidden: Any) -> Any:
        """Map (n hidden h w) to (n 2 h w)."""
        return self.conv2(F.relu(self.conv1(hidden)))


class UpdateBlock(Cell):
    """One recurrent update."""

    def __init__(self, params: RAFTParams) -> None:
        super().__init__()
        self.motion_encoder = MotionFeatures(params)
        self.recurrent_block = RecurrentBlock(params)
        self.flow_head = FlowHead(params.hidden_channels, params.flow_head_channels)

    def construct(self, hidden: Any, context: Any, correlations: Any, flow: Any) -> Any:
        """Return the next hidden state (n hidden h w) and the change of flow (n 2 h w)."""
        hidden = self.recurrent_block(hidden, F.concat([context, self.motion_encoder(flow, correlations)], 1))
        return hidden, self.flow_head(hidden)
