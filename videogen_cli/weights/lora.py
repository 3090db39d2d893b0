"""Low-rank factors: reading every form they are kept in, and adding them to a network's weights.

The published form (cloneofsimo/lora) is a flat list [up_0, down_0, up_1, down_1, ...] whose order is the network's
module order; ours names the factors ``<module>.lora_up`` and ``<module>.lora_down``. Factors of a layer with weight
(out, in, *kernel): up (out, r, 1...), down (r, in, *kernel), r = min(rank, in, out).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from videogen_cli.errors import WeightsError, nearest
from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.keymap import Account
from videogen_cli.weights.names import errors_at, plain
from videogen_cli.weights.readers import open_checkpoint
from videogen_cli.weights.tensor import LazyTensor, from_array

UP, DOWN, WEIGHT = ".lora_up", ".lora_down", ".weight"


class Layer(NamedTuple):
    """A layer that factors belong to; ``shape`` is that of its weight (out, in, *kernel)."""

    name: str
    shape: tuple[int, ...]

    def factor_shapes(self, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of (up, down)."""
        out_size, in_size, *kernel = self.shape
        r = min(rank, in_size, out_size)
        return (out_size, r, *(1 for _ in kernel)), (r, in_size, *kernel)


@dataclass(frozen=True)
class Lora:
    """Factors by module name; ``base`` holds weights that exist only beside them (not in the network they adapt)."""

    factors: Mapping[str, tuple[LazyTensor, LazyTensor]]
    rank: int
    alpha: float = 1.0
    base: Mapping[str, LazyTensor] = field(default_factory=dict)


def open_lora_file(path: Path | str, *, root: str | None = None) -> Checkpoint:
    """Open a file of factors in any container, also ``.npz`` and pickled lists of numpy arrays.

    Raises:
        WeightsError: the file is missing, damaged, hostile, or of an unsupported kind.
    """
    from videogen_cli.weights.npy import read_pickled_arrays

    try:
        return open_checkpoint(path, root=root)
    except WeightsError as error:
        if "plain Python pickle" not in error.what:
            raise
    return read_pickled_arrays(Path(path))


def load_lora(path: Path | str, layers: Sequence[Layer], keys: LoraKeys | None = None) -> Lora:
    """Read factors for a network's ``layers``, by name where the file has names, else by order.

    Args:
        path: a file of factors in any container.
        layers: of the network, in its own order.
        keys: what knows the orders the file may be in; by default that of ``layers``.

    Raises:
        WeightsError: the factors do not fit the layers; the message names the first that does not.
    """
    checkpoint = open_lora_file(path)
    with errors_at(path):
        account = (keys or LoraKeys()).account(checkpoint.tensors, {"": layers})
        alpha = _alpha(checkpoint.metadata)
    tensors = account.tensors
    modules = [name.removesuffix(UP) for name in tensors if name.endswith(UP)]
    return Lora(
        {name: (tensors[name + UP], tensors[name + DOWN]) for name in modules},
        rank=int(account.metadata["rank"]),
        alpha=alpha,
        base={name: tensor for name, tensor in tensors.items() if name.endswith(WEIGHT)},
    )


class LoraKeys:
    """Says which layer each factor of a file belongs to. It stands where a key map stands for named weights."""

    def open(self, path: Path | str, root: str | None = None) -> Checkpoint:
        """Open a file that may hold factors."""
        return open_lora_file(path, root=root)

    def prepare(self, params: dict[str, Any], tensors: Mapping[str, LazyTensor]) -> dict[str, Any]:
        """Return the params of the networks the factors ``tensors`` were made for."""
        return params

    def targets(self, cells: Mapping[str, Any]) -> dict[str, Sequence[Layer]]:
        """Return component -> adapted layers, in order."""
        from videogen_cli.nets.lora import adapted_modules

        return {name: [Layer(m.name, m.weight_shape) for m in adapted_modules(cell)] for name, cell in cells.items()}

    def account(self, tensors: Mapping[str, LazyTensor], targets: Mapping[str, Sequence[Layer]]) -> Account:
        """Give every factor its layer.

        Raises:
            WeightsError: a factor too many or too few, or of a shape its layer does not have (the first is named).
        """
        layers = [layer for group in targets.values() for layer in group]
        if any(name.endswith(UP) for name in tensors):
            return _by_name(tensors, layers)
        return self.by_order(tensors, layers)

    def by_order(self, tensors: Mapping[str, LazyTensor], layers: Sequence[Layer]) -> Account:
        """Give every factor of a list its layer; ``layers`` are in the network's own order, which is the list's here.

        Raises:
            WeightsError: see :meth:`account`.
        """
        items = list(tensors.items())
        rank = _rank([tensor for _, tensor in items])
        account = Account(metadata={"rank": str(rank), "alpha": "1.0"})
        for index, (name, shape) in enumerate(_factor_names(layers, rank)):
            if index >= len(items):
                raise WeightsError(
                    f"holds {len(items)} tensors, the network needs {2 * len(layers)} (two for each of {len(layers)} "
                    f"layers); '{name}' would be the next",
                    hint=variant_hint(list(tensors.values())),
                )
            source, tensor = items[index]
            if tensor.shape != shape:
                raise WeightsError(
                    f"item {index} is {list(tensor.shape)}, but '{name}' needs {list(shape)} (rank {rank}): "
                    "factors and layers do not correspond from here on",
                    hint=variant_hint(list(tensors.values())),
                )
            account.use(name, (source,), tensor)
        if len(items) > 2 * len(layers):
            raise WeightsError(f"holds {len(items)} tensors, the network takes only {2 * len(layers)}")
        return account

    def export(self, tensors: Mapping[str, LazyTensor], found: Mapping[str, str] | None = None) -> Account:
        """Return the factors under their published names: the place in the list, which is in module order."""
        account = Account()
        for index, name in enumerate(name for name in tensors if not name.endswith(WEIGHT)):
            account.use(str(index), (name,), tensors[name])
        return account


def _by_name(tensors: Mapping[str, LazyTensor], layers: Sequence[Layer]) -> Account:
    """Account for factors that carry our names."""
    rank = max((t.shape[0] for name, t in tensors.items() if name.endswith(DOWN) and t.shape), default=0)
    expected = dict(_factor_names(layers, rank))
    weights = {layer.name + WEIGHT: layer.shape for layer in layers}
    for name, tensor in tensors.items():
        shape = expected.get(name) or weights.get(name)
        if shape is None:
            raise WeightsError(f"'{plain(name)}' is no layer of the network", hint=_near(name, expected))
        if tensor.shape != shape:
            raise WeightsError(f"'{plain(name)}' is {list(tensor.shape)}, the network needs {list(shape)}")
    if missing := [name for name in expected if name not in tensors]:
        raise WeightsError(f"lacks {len(missing)} of {len(expected)} factors, first '{missing[0]}'")
    ordered = [*expected, *(name for name in tensors if name in weights)]
    return Account(
        used={name: (name,) for name in ordered},
        tensors={name: tensors[name] for name in ordered},
        metadata={"rank": str(rank)},
    )


def _alpha(metadata: Mapping[str, str]) -> float:
    text = metadata.get("alpha", "1.0")
    try:
        return float(text)
    except ValueError as error:
        raise WeightsError(f"its alpha '{plain(text)}' is not a number") from error


def _near(name: str, known: Mapping[str, Any]) -> str | None:
    close = nearest(name, known)
    return f"Nearest: {', '.join(close)}" if close else None


def _factor_names(layers: Sequence[Layer], rank: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield (name, shape) of every factor in the published order."""
    for layer in layers:
        up, down = layer.factor_shapes(rank)
        yield layer.name + UP, up
        yield layer.name + DOWN, down


def _rank(tensors: Sequence[LazyTensor]) -> int:
    """Return the rank a list was made with: the largest inner size (thin layers have less)."""
    pairs = zip(tensors[::2], tensors[1::2], strict=False)
    inner = [
        min(up.shape[1], down.shape[0]) for up, down in pairs if len(up.shape) > 1 and len(down.shape) == len(up.shape)
    ]
    if not inner:
        raise WeightsError("does not hold pairs of low-rank factors")
    return max(inner)


def begins_with_convolution(tensors: Sequence[LazyTensor]) -> bool:
    """Tell T2V-Turbo's two published lists by their first layer: ModelScope's is a convolution."""
    first = [tensor.shape for tensor in tensors[:2]]
    return len(first) == 2 and len(first[1]) == 4 and first[1][2:] == (3, 3)


def variant_hint(tensors: Sequence[LazyTensor]) -> str | None:
    """Say which published variant a list begins like."""
    if begins_with_convolution(tensors):
        return "It begins with a convolution, like T2V-Turbo-MS (ModelScope), not like T2V-Turbo-VC2."
    return None


def merge(weights: Mapping[str, LazyTensor], lora: Lora, *, scale: float | None = None) -> dict[str, LazyTensor]:
    """Return ``weights`` with W + scale * up @ down in place of every adapted W; computed when read.

    Args:
        weights: a network's weights by name; an adapted layer's is ``<module>.weight``.
        lora: factors; its ``base`` weights are added to ``weights`` first.
        scale: how strongly; None = the alpha of the file.

    Raises:
        WeightsError: a factor's layer is not among the weights.
    """
    merged = {**weights, **lora.base}
    strength = lora.alpha if scale is None else scale
    for module, (up, down) in lora.factors.items():
        name = module + WEIGHT
        if name not in merged:
            raise WeightsError(f"'{plain(name)}', which LoRA factors adapt, is not there", hint=_near(name, merged))
        merged[name] = _sum(merged[name], up, down, strength)
    return merged


def _sum(weight: LazyTensor, up: LazyTensor, down: LazyTensor, scale: float) -> LazyTensor:
    def read() -> np.ndarray:
        return weight.float32() + delta(up, down, scale).reshape(weight.shape)

    def release() -> None:
        for tensor in (weight, up, down):
            tensor.release()

    return replace(weight, dtype="float32", read=read, release=release, storage=None)


def delta(up: LazyTensor, down: LazyTensor, scale: float = 1.0) -> np.ndarray:
    """Return scale * up @ down as a float32 matrix (out, in * kernel)."""
    left, right = up.float32(), down.float32()
    product = left.reshape(len(left), -1) @ right.reshape(len(right), -1)
    return product if scale == 1.0 else product * np.float32(scale)


def uniform_base(shape: tuple[int, ...], bound: float, seed: int) -> LazyTensor:
    """Draw a weight uniformly from [-bound, bound] with Philox: the same on every machine.

    For layers whose weight was never published because the original draws it anew in every process.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    return from_array(rng.uniform(-bound, bound, shape).astype(np.float32))
