"""An opened checkpoint, whatever its container, and the search for the weights inside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videogen_cli.errors import WeightsError, did_you_mean
from videogen_cli.weights.names import plain
from videogen_cli.weights.pickle_machine import Foreign
from videogen_cli.weights.tensor import LazyTensor

PathKeys = tuple[str | int, ...]
Scalar = str | int | float | bool | None

# Where training scripts put the weights, most telling name first.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "unet_state_dict",
    "module",
    "model",
    "generator",
    "params",
    "ema",
    "model_ema",
    "ema_state_dict",
)
_NOT_WEIGHTS = ("optim", "scheduler", "rng", "loops", "callbacks", "hyper_parameters", "scaler", "history")
_NUMPY_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_MAX_DEPTH = 64


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose tensors are read when asked for.

    ``tensors`` has the names inside the weight dictionary found at ``weights_root`` (a flat list gives "0", "1",
    ...); ``others`` are further dictionaries that might be meant (an EMA copy). ``shared`` groups the names, as in
    :meth:`everything`, of tensors that view the same stored bytes. ``files`` are all files it is made of.
    """

    path: Path
    container: str
    tensors: Mapping[str, LazyTensor]
    weights_root: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    all_tensors: Mapping[PathKeys, LazyTensor] | None = None
    scalars: Mapping[PathKeys, Scalar] = field(default_factory=dict)
    unknown_globals: list[str] = field(default_factory=list)
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None  # hyper-parameters, when the container has them (a manifest)
    is_list: bool = False
    files: tuple[Path, ...] = ()

    def everything(self) -> dict[str, LazyTensor]:
        """Return all tensors, also those that are no weights, by their path joined with "/"."""
        if self.all_tensors is None:
            return dict(self.tensors)
        return {"/".join(map(str, path)): tensor for path, tensor in self.all_tensors.items()}

    @property
    def shared(self) -> list[list[str]]:
        """Groups of two or more tensors on one storage."""
        groups: dict[Any, list[str]] = {}
        for name, tensor in self.everything().items():
            if tensor.storage is not None:
                groups.setdefault(tensor.storage, []).append(name)
        return [names for names in groups.values() if len(names) > 1]


def from_object(path: Path, container: str, value: Any, *, root: str | None = None, unknown: list[str]) -> Checkpoint:
    """Find the weights in an unpickled object.

    Args:
        path: the file.
        container: its kind.
        value: what its pickle held.
        root: the key of the weight dictionary, when the usual search should not decide.
        unknown: classes that became placeholders.

    Raises:
        WeightsError: there are no weights, or something that is no tensor stands among them.
    """
    where = plain(path)
    all_tensors, scalars = _walk(value, where)
    if isinstance(value, LazyTensor):
        return Checkpoint(path, container, {"tensor": value}, all_tensors=all_tensors, files=(path,))
    keys, weights, others = _find_weights(value, root, where)
    if isinstance(weights, dict):
        tensors = _checked_dict(weights, keys, where)
    else:
        tensors = {str(index): item for index, item in enumerate(weights)}
    return Checkpoint(
        path,
        container,
        tensors,
        weights_root=keys,
        others=others,
        all_tensors=all_tensors,
        scalars=scalars,
        unknown_globals=unknown,
        is_list=not isinstance(weights, dict),
        files=(path,),
    )


def _find_weights(value: Any, root: str | None, where: str) -> tuple[list[str], Any, list[str]]:
    """Return (path of the weights, the dictionary or list, other candidates)."""
    if isinstance(value, Foreign):
        hint = "Save model.state_dict() instead of the model itself."
        raise WeightsError(
            f"holds a pickled object of class '{plain(value.name)}', not weights", where=where, hint=hint
        )
    candidates = _candidates(value)
    if root is not None:
        if root not in candidates:
            raise WeightsError(
                f"has no weights under '{plain(root)}'", where=where, hint=did_you_mean(root, candidates)
            )
        return [root], value[root], [name for name in candidates if name != root]
    if _is_weights(value) and not any(name in candidates for name in WRAPPERS):
        return [], value, candidates
    for name in WRAPPERS:
        if name in candidates:
            return [name], value[name], [c for c in candidates if c in WRAPPERS and c != name]
    if isinstance(value, dict) and "optimizer_state_dict" in value:
        hint = "The weights are in the file ending in model_states.pt, or merge the shards with DeepSpeed's own tool."
        raise WeightsError("is an optimizer shard of DeepSpeed, not weights", where=where, hint=hint)
    hint = f"Name the part with --root: {', '.join(map(plain, candidates[:8]))}." if candidates else ""
    raise WeightsError("holds no weights where they are usually kept", where=where, hint=hint or None)


def _is_weights(value: Any) -> bool:
    if isinstance(value, dict):
        return any(isinstance(item, LazyTensor) for item in value.values())
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, LazyTensor) for item in value)


def _candidates(value: Any) -> list[str]:
    """List the keys of a dictionary under which weights lie."""
    return [k for k, v in value.items() if isinstance(k, str) and _is_weights(v)] if isinstance(value, dict) else []


def _checked_dict(weights: dict[Any, Any], keys: Sequence[str], where: str) -> dict[str, LazyTensor]:
    """Return the tensors of a weight dictionary; at the top level plain metadata may stand beside them."""
    tensors: dict[str, LazyTensor] = {}
    for key, item in weights.items():
        if isinstance(item, LazyTensor) and isinstance(key, str):
            tensors[key] = item
        elif keys or not _is_metadata(key, item):
            kind = f"an object of class '{plain(item.name)}'" if isinstance(item, Foreign) else f"a {_kind(item)}"
            place = "/".join([*keys, plain(key if isinstance(key, str) else type(key).__name__)])
            raise WeightsError(f"'{place}' is {kind} among the weights, not a tensor with a name", where=where)
    return tensors


def _kind(item: Any) -> str:
    return "tensor" if isinstance(item, LazyTensor) else type(item).__name__


def _is_metadata(key: Any, item: Any) -> bool:
    """Tell whether something beside top-level tensors is clearly no weight: a plain value, or training state."""
    if isinstance(item, (str, int, float, bool, type(None))):
        return True
    if isinstance(item, Foreign) and item.name in _NUMPY_SCALARS:
        return True
    if isinstance(key, str) and any(word in key.lower() for word in _NOT_WEIGHTS):
        return True
    return isinstance(item, (dict, list, tuple, set)) and all(
        isinstance(part, (str, int, float, bool, type(None)))
        for part in (item.values() if isinstance(item, dict) else item)
    )


def _walk(value: Any, where: str) -> tuple[dict[PathKeys, LazyTensor], dict[PathKeys, Scalar]]:
    """Collect all tensors and plain values by path; every container is entered once, so cycles end."""
    tensors: dict[PathKeys, LazyTensor] = {}
    scalars: dict[PathKeys, Scalar] = {}
    seen: set[int] = set()
    pending: list[tuple[PathKeys, Any]] = [((), value)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, LazyTensor):
            tensors[path] = item
        elif item is None or isinstance(item, (str, int, float, bool)):
            scalars[path] = item
        elif isinstance(item, (dict, list, tuple)) and id(item) not in seen:
            if len(path) >= _MAX_DEPTH:
                raise WeightsError(f"its objects are nested more than {_MAX_DEPTH} deep", where=where)
            seen.add(id(item))
            pending += [((*path, key), part) for key, part in reversed(list(_parts(item)))]
    return tensors, scalars


def _parts(item: dict[Any, Any] | Sequence[Any]) -> Iterator[tuple[str | int, Any]]:
    if isinstance(item, dict):
        yield from ((key, part) for key, part in item.items() if isinstance(key, (str, int)))
    else:
        yield from enumerate(item)
