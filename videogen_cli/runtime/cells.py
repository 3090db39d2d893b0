"""The base classes of all networks: MindSpore's once it is running, weightless skeletons before.

Networks import from here (and :mod:`videogen_cli.runtime.functional`), never from ``mindspore``. That gives one
place for backend differences, and lets planning, ``convert`` and ``--dry-run`` build a network of any size to read
its parameter names and shapes without MindSpore and without memory. The choice is made when this module is first
imported: real cells if MindSpore was imported before (``runtime.context.start`` does), skeletons otherwise.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

REAL = "mindspore" in sys.modules


@dataclass(frozen=True)
class Init:
    """How a parameter starts when no weights are loaded.

    ``kind``: ``zeros``, ``ones``, ``normal`` (``mean`` and standard deviation ``scale``), ``uniform`` (in
    [-scale, scale]) or ``centre`` (a kernel that passes its input on; its bias, zero).
    """

    kind: str = "zeros"
    scale: float = 1.0
    mean: float = 0.0

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return a float32 array drawn from ``rng``."""
        if self.kind == "zeros":
            return np.zeros(shape, np.float32)
        if self.kind == "ones":
            return np.ones(shape, np.float32)
        if self.kind == "centre":
            return _centre(shape)
        if self.kind == "normal":
            return np.asarray(rng.standard_normal(shape, np.float32) * self.scale + self.mean, np.float32)
        return rng.uniform(-self.scale, self.scale, shape).astype(np.float32)


def _centre(shape: tuple[int, ...]) -> np.ndarray:
    """Return a kernel (o i ...) that passes its input on: the identity at its centre, zeros elsewhere; a bias of 0."""
    values = np.zeros(shape, np.float32)
    if len(shape) > 1:
        values[(slice(None), slice(None), *(size // 2 for size in shape[2:]))] = np.eye(*shape[:2])
    return values


ZEROS, ONES, CENTRE = Init("zeros"), Init("ones"), Init("centre")

if TYPE_CHECKING:

    class Cell(Any):
        """To type checkers a cell is what its ``construct`` says; MindSpore's own annotations say less."""

    class CellList(Cell):
        """Cells in order."""

    def parameter(shape: tuple[int, ...], init: Init = ZEROS) -> Any:
        """Declare a parameter."""

    def buffer(shape: tuple[int, ...], init: Init = ZEROS) -> Any:
        """Declare numbers that checkpoints hold and no gradient changes."""

elif REAL:
    import mindspore as ms
    from mindspore import nn

    Cell = nn.Cell
    CellList = nn.CellList

    def parameter(shape: tuple[int, ...], init: Init = ZEROS) -> Any:
        """Declare a float32 parameter; it takes no memory until weights are loaded or initialised."""
        from mindspore.common.initializer import Zero
        from mindspore.nn.utils import no_init_parameters

        with no_init_parameters():
            value = ms.Parameter(ms.Tensor(shape=shape, dtype=ms.float32, init=Zero()))
        value.vgen_init = init
        return value

    def buffer(shape: tuple[int, ...], init: Init = ZEROS) -> Any:
        """Declare numbers that checkpoints hold and no gradient changes."""
        value = parameter(shape, init)
        value.requires_grad = False
        return value

else:

    class SkeletonParameter:
        """The shape of a parameter and how it would start."""

        def __init__(self, shape: tuple[int, ...], init: Init) -> None:
            self.shape, self.vgen_init = tuple(shape), init

    class Cell:
        """A network part that knows its children and parameters, and nothing else."""

        def __init__(self, *_: Any, **__: Any) -> None:
            self._children: dict[str, Any] = {}

        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, value)
            if isinstance(value, (Cell, SkeletonParameter)):
                self._children[name] = value

        def cells_and_names(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
            """Yield (name, cell) depth first in registration order, itself first."""
            yield prefix, self
            for name, child in self._children.items():
                if isinstance(child, Cell):
                    yield from child.cells_and_names(f"{prefix}.{name}" if prefix else name)

        def parameters_and_names(self) -> Iterator[tuple[str, SkeletonParameter]]:
            """Yield (dotted name, parameter) depth first in registration order."""
            for prefix, cell in self.cells_and_names():
                for name, child in cell._children.items():
                    if isinstance(child, SkeletonParameter):
                        yield (f"{prefix}.{name}" if prefix else name), child

        def recompute(self, **_: Any) -> None:
            """Accept the request; a skeleton computes nothing."""

    class CellList(Cell):
        """An ordered list of cells whose children are named "0", "1", ..."""

        def __init__(self, cells: Any = ()) -> None:
            super().__init__()
            for cell in cells:
                self.append(cell)

        def append(self, cell: Cell) -> None:
            """Add a cell at the end."""
            setattr(self, str(len(self._children)), cell)

        def __iter__(self) -> Iterator[Any]:
            return iter(self._children.values())

        def __len__(self) -> int:
            return len(self._children)

        def __getitem__(self, index: int) -> Any:
            return list(self._children.values())[index]

    def parameter(shape: tuple[int, ...], init: Init = ZEROS) -> Any:
        """Declare a parameter by shape."""
        return SkeletonParameter(shape, init)

    buffer = parameter


def forget_skeletons() -> None:
    """Make networks importable anew as real ones, after skeletons were used in this process.

    Every module that holds the skeleton ``Cell`` or a class derived from it is dropped, this one included, so that the
    next import of it by name finds MindSpore. What was imported from them before stays as it was.
    """
    if REAL:
        return
    for name, module in list(sys.modules.items()):
        if any(isinstance(value, type) and issubclass(value, Cell) for value in vars(module).values()):
            _drop(name)
    _drop(f"{__package__}.functional")


def _drop(name: str) -> None:
    sys.modules.pop(name, None)
    package, _, attribute = name.rpartition(".")
    if package in sys.modules:
        vars(sys.modules[package]).pop(attribute, None)


def shapes(cell: Any) -> dict[str, tuple[int, ...]]:
    """Return parameter name -> shape in registration order."""
    return {name: tuple(p.shape) for name, p in cell.parameters_and_names()}
