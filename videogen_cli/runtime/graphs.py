"""Compiled graphs kept on disk from one process to the next.

MindSpore reads the cache's folder once per process, and finds a graph in it by how many the process compiled before,
whatever their code and shapes are: a process that compiles in another order is given a wrong graph without a word. It
also writes in place. So what is kept is an archive, replaced as a whole, that each process unpacks for itself; it
carries a list of what its graphs are, in order, and a graph is taken from it only while the process does what the list
says.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from videogen_cli.errors import DiskError
from videogen_cli.files import atomic_path, cache_root, sha256_file
from videogen_cli.runtime.context import started
from videogen_cli.runtime.kernels.build import library

_ENABLE, _PATH = "MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH"
_LIST = "graphs.json"
_WORK = "vgen-graphs-"
_SETTLED = 60.0  # seconds after which a folder has been locked by its process, if that lives
KEPT = 64  # archives, of 1 to 20 MB each; those go that were not used for longest


class GraphCache:
    """The graphs of one process, in the order they are compiled.

    Args:
        folder: where archives are.
        kind: tells processes apart that may begin with the same graph and go on with others.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder, self._kind = folder, kind
        self._expected: list[str] = []
        self._compiled: list[str] = []
        self._called: set[Any] = set()
        self._work: Path | None = None
        self._on_course = True

    def run(self, cell: Callable[..., Any], tensors: tuple[Any, ...], identity: Any) -> Any:
        """Call ``cell``, whose graph depends on ``identity``, its constants, and the tensors' shapes and types."""
        shapes = tuple((tensor.shape, str(tensor.dtype)) for tensor in tensors)
        if (id(cell), shapes) in self._called:
            return cell(*tensors)
        self._called.add((id(cell), shapes))
        return self._first_call(cell, tensors, _digest([identity, shapes, _contents(cell)]))

    def _first_call(self, cell: Callable[..., Any], tensors: tuple[Any, ...], identity: str) -> Any:
        if not self._compiled:
            self._unpack(identity)
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
            self._pack()
        return result

    def _unpack(self, first: str) -> None:
        self._archive = self._folder / f"{_digest([self._kind, first])}.zip"
        try:
            self._work = _own_folder()
            if self._archive.exists():
                self._expected = _extract(self._archive, self._work)
                os.utime(self._archive)
            os.environ[_PATH] = str(self._work)
        except OSError:  # without a place for them, graphs are compiled each time
            self._on_course = False

    def _pack(self) -> None:
        assert self._work is not None
        try:
            (self._work / _LIST).write_text(json.dumps(self._compiled))
            with atomic_path(self._archive) as part, ZipFile(part, "w") as archive:
                for path in sorted(self._work.rglob("*")):
                    archive.write(path, path.relative_to(self._work))
            by_age = sorted(self._folder.glob("*.zip"), key=lambda path: path.stat().st_mtime)
            for path in by_age[:-KEPT]:
                path.unlink()
        except (OSError, DiskError):
            self._on_course = False


def _own_folder() -> Path:
    """Make a folder that goes when this process ends, or when another one starts after this one was killed."""
    for other in Path(gettempdir()).glob(f"{_WORK}*"):
        with contextlib.suppress(OSError):
            if time.time() - other.stat().st_mtime > _SETTLED:
                descriptor = _lock(other)
                shutil.rmtree(other)
                os.close(descriptor)
    folder = Path(mkdtemp(prefix=_WORK))
    _lock(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _lock(folder: Path) -> int:
    """Hold a folder until this process ends, however it does; a :class:`BlockingIOError` says that another one does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _extract(path: Path, folder: Path) -> list[str]:
    """Unpack graphs and return their list; of a damaged archive nothing is left."""
    try:
        with ZipFile(path) as archive:
            archive.extractall(folder)
        return json.loads((folder / _LIST).read_text())
    except (BadZipFile, ValueError, EOFError, KeyError):
        shutil.rmtree(folder)
        folder.mkdir()
        return []


_cache: GraphCache | None = None


def keep(*identity: Any) -> None:
    """Keep the graphs this process will compile with :func:`call` and :func:`run`.

    Call it after the device was started and before those graphs are compiled. Processes that compile the same graphs in
    the same order should give the same identity, others another one.
    """
    global _cache
    plan = started()
    if plan and plan["compile_cache"] and plan["mode"] == "graph" and _cache is None:
        about = [plan[key] for key in ("target", "jit_level", "dtype", "mindspore", "recompute")]
        about.append(library().path if plan["target"] == "cpu" else None)  # its name says what is in it
        _cache = GraphCache(cache_root() / "graphs", _digest([identity, about, _sources()]))


def call(cell: Callable[..., Any], tensors: tuple[Any, ...], *identity: Any) -> Any:
    """Call a cell on tensors and return what it returns.

    Args:
        cell: what to call.
        tensors: its inputs.
        identity: what the graph depends on beside the inputs' shapes and types and the cell's constants: JSON-like
            values, such as the network's params.
    """
    return cell(*tensors) if _cache is None else _cache.run(cell, tensors, identity)


def run(cell: Callable[..., Any], arrays: tuple[np.ndarray, ...], *identity: Any) -> np.ndarray:
    """Call a network on host arrays and bring its one output back, as float32 where it computes in less.

    The arguments are those of :func:`call`.
    """
    from mindspore import Tensor

    tensors = tuple(Tensor(np.ascontiguousarray(array)) for array in arrays)
    return _widened(call(cell, tensors, *identity).asnumpy())


def _contents(cell: Any) -> list[Any]:
    """Return what graphs hold of a cell: its parts' numbers, words and constants (as digests), and their code's."""
    from mindspore.nn import Cell

    found, modules, common = [], set(), vars(Cell()).keys()
    for name, part in cell.cells_and_names() if hasattr(cell, "cells_and_names") else ():
        modules.add(type(part).__module__)
        found += [(name, key, _held(value)) for key, value in vars(part).items() if key not in common]
    files = [getattr(sys.modules.get(module), "__file__", None) for module in sorted(modules)]
    return [*found, *(sha256_file(file) for file in files if file)]


def _held(value: Any) -> Any:
    """Return an attribute as JSON tells it; parameters, whose values no graph holds, and other objects as nothing."""
    from mindspore import Parameter, Tensor

    if isinstance(value, list | tuple):
        return [_held(item) for item in value]
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        array = value.asnumpy()
        return str(array.dtype), array.shape, hashlib.sha256(array.tobytes()).hexdigest()
    return value if isinstance(value, bool | int | float | str) else None


def _widened(array: np.ndarray) -> np.ndarray:
    """Return numbers of half precision as float32: sampling goes on with them on the host."""
    return array.astype(np.float32) if array.itemsize == 2 else array


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:20]


def _sources() -> str:
    """Return a digest of the code that graphs are compiled from."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
