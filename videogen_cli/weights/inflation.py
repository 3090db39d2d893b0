"""Image autoencoders' weights in the causal video autoencoder: each 2D kernel is the last frame's of a 3D one.

On one frame both then compute the same. Source: Open-Sora-Plan's report v1.0.0 ("tail initialisation") and
mindspore-lab/mindone examples/opensora_pku/tools/model_conversion/inflate_vae2d_to_vae3d.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.weights.keymap import Account, KeyMap, Rule, Shape, ignore, rename
from videogen_cli.weights.keys.autoencoder import LAYOUT, DiffusersKeys, is_diffusers, layout_of, ldm_named
from videogen_cli.weights.layouts import SAME
from videogen_cli.weights.tensor import LazyTensor

LDM = "ldm"


@dataclass(frozen=True)
class LastFrame:
    """A kernel (o i h w) as the last of the ``frames`` of a kernel (o i f h w) that is zero elsewhere."""

    frames: int

    @property
    def inverse(self) -> OnlyLastFrame:
        """The way back."""
        return OnlyLastFrame(self.frames)

    def shape(self, shape: Shape) -> Shape | None:
        """Return the inflated shape, or None if this is no kernel."""
        return (*shape[:2], self.frames, *shape[2:]) if len(shape) == 4 else None

    def apply(self, tensor: LazyTensor) -> LazyTensor:
        """Return the inflated kernel."""
        shape = self.shape(tensor.shape)
        assert shape is not None

        def read() -> np.ndarray:
            kernel = tensor.read()
            inflated = np.zeros(shape, kernel.dtype)
            inflated[:, :, -1] = kernel
            return inflated

        return replace(tensor, shape=shape, read=read, storage=None)


@dataclass(frozen=True)
class OnlyLastFrame:
    """The last frame of a kernel (o i f h w) whose others are zero."""

    frames: int

    @property
    def inverse(self) -> LastFrame:
        """The way back."""
        return LastFrame(self.frames)

    def shape(self, shape: Shape) -> Shape | None:
        """Return the shape of one frame, or None if this is no kernel of as many frames."""
        return (*shape[:2], *shape[3:]) if len(shape) == 5 and shape[2] == self.frames else None

    def apply(self, tensor: LazyTensor) -> LazyTensor:
        """Return the frame; reading it raises WeightsError when the others are not zero."""
        shape = self.shape(tensor.shape)
        assert shape is not None

        def read() -> np.ndarray:
            kernel = tensor.read()
            if kernel[:, :, :-1].any():
                raise WeightsError("a kernel sees several frames, which an image autoencoder has no place for")
            return kernel[:, :, -1]

        return replace(tensor, shape=shape, read=read, storage=None)


@dataclass(frozen=True)
class InflatedKeys(KeyMap):
    """A key map from image autoencoders, in latent diffusion's or diffusers' layout, to the video autoencoder.

    A converted file remembers the layout, so that an export has the names and shapes it came with.
    """

    rules: tuple[Rule, ...] = (
        ignore("loss.{*}", "loss network kept by training"),
        ignore("model_ema.{*}", "moving average kept by training"),
    )
    target: str = "vae."

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Any]) -> Account:
        """See :meth:`KeyMap.account`."""
        named, origin = ldm_named(tensors)
        account = KeyMap((*self.rules, *self._kernels(targets))).account(named, targets)
        return replace(
            account,
            used={name: tuple(origin[source] for source in sources) for name, sources in account.used.items()},
            ignored={origin[name]: reason for name, reason in account.ignored.items()},
            unexpected={origin[name]: near for name, near in account.unexpected.items()},
            mismatched=[replace(item, source=origin[item.source]) for item in account.mismatched],
            metadata={LAYOUT: layout_of(tensors).word if is_diffusers(tensors) else LDM},
        )

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """See :meth:`KeyMap.export`."""
        account = KeyMap(self._kernels({name: tensor.shape for name, tensor in tensors.items()})).export(tensors)
        if (found or {}).get(LAYOUT, LDM) == LDM:
            return account
        theirs = DiffusersKeys((), target="").export(account.tensors, found)
        theirs.used = {key: account.used[names[0]] for key, names in theirs.used.items()}
        return theirs

    def _kernels(self, ours: Mapping[str, Shape]) -> tuple[Rule, ...]:
        """Return a rule per parameter; those of a causal convolution are one level deeper than a plain one's."""
        rules: list[Rule] = []
        for name in ours:
            module, _, kind = name.rpartition(".")
            shape = ours.get(f"{module}.weight", ())
            causal = len(shape) == 5
            source = f"{module.removesuffix('.conv')}.{kind}" if causal else name
            axes = LastFrame(shape[2]) if causal and kind == "weight" else SAME
            rules.append(rename(source.removeprefix(self.target), name, axes))
        return tuple(rules)
