"""Compiled graphs kept on disk from one process to the next.

MindSpore reads the cache's folder once per process, and finds a graph in it by how many the process compiled before,
whatever their code and shapes are: a process that compiles in another order is given a wrong graph without a word.
So each folder carries a list of what its graphs are, in order, and a graph is taken from disk only while the process
does what the list says.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.files import cache_root, write_json
from videogen_cli.runtime.context import started
from videogen_cli.runtime.kernels.build import library

_ENABLE, _PATH = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"


class GraphCache:
    """The graphs of one process, in the order they are compiled.

    Args:
        folder: where the graphs and their list are.
    """

    def __init__(self, folder: Path) -> None:
        self._list = folder / "graphs.json"
        try:
            self._expected: list[str] = json.loads(self._list.read_text())
        except (OSError, ValueError):
            self._expected = []
        self._compiled: list[str] = []
        self._on_course = True
        os.environ[_PATH] = str(folder)

    def run(self, cell: Callable[..., Any], tensors: list[Any], identity: str) -> Any:
        """Call ``cell``; ``identity`` says all that its graph depends on."""
        if identity in self._compiled:
            return cell(*tensors)
        position = len(self._compiled)
        known = self._expected[position : position + 1]
        self._on_course = self._on_course and known in ([], [identity])
        self._compiled.append(identity)
        os.environ[_ENABLE] = "1" if self._on_course else "0"
        try:
            result = cell(*tensors)
        finally:
            os.environ[_ENABLE] = "0"
        if self._on_course and not known:
            write_json(self._list, self._compiled)
        return result


_cache: GraphCache | None = None


def keep(*identity: Any) -> None:
    """Keep the graphs this process will compile with :func:`run` in a folder named by ``identity``.

    Call it after the device was started and before anything is compiled. Processes that compile the same graphs in
    the same order should give the same identity, others another one.
    """
    global _cache
    plan = started()
    if plan and plan["compile_cache"] and plan["mode"] == "graph" and _cache is None:
        about = [plan[key] for key in ("target", "jit_level", "dtype", "mindspore")]
        about.append(library().path if plan["target"] == "cpu" else None)  # its name says what is in it
        _cache = GraphCache(cache_root() / "graphs" / _digest([identity, about, _sources()]))


def run(cell: Callable[..., Any], arrays: tuple[np.ndarray, ...], *identity: Any) -> np.ndarray:
    """Call a network on host arrays and bring its one output back, as float32 where it computes in less.

    Args:
        cell: what to call; it must be the only one of its identity in this process.
        arrays: its inputs.
        identity: what the graph depends on beside the inputs' shapes: JSON-like values, such as the network's params.
    """
    from mindspore import Tensor

    tensors = [Tensor(np.ascontiguousarray(array)) for array in arrays]
    if _cache is None:
        return _widened(cell(*tensors).asnumpy())
    shapes = [(array.shape, str(array.dtype)) for array in arrays]
    return _widened(_cache.run(cell, tensors, _digest([identity, shapes])).asnumpy())


def _widened(array: np.ndarray) -> np.ndarray:
    """Return numbers of half precision as float32: sampling goes on with them on the host."""
    return array.astype(np.float32) if array.itemsize == 2 else array


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:20]


def _sources() -> str:
    """Return a digest of the code that graphs are compiled from."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for path in sorted([*package.glob("nets/**/*.py"), *package.glob("runtime/**/*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
