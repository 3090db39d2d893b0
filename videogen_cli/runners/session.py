"""From a plan to running networks: find the weights, start the device, build and load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from videogen_cli.config import get_dotted
from videogen_cli.data.cache import cache_key
from videogen_cli.errors import WeightsError, did_you_mean
from videogen_cli.files import sha256_file
from videogen_cli.output import Output
from videogen_cli.registry import AdapterSpec, ModelSpec, load_attr
from videogen_cli.runners.download import prepare_weights
from videogen_cli.runners.plan import Plan
from videogen_cli.weights import open_checkpoint
from videogen_cli.weights.finite import require_finite
from videogen_cli.weights.names import errors_at
from videogen_cli.weights.published import is_published
from videogen_cli.weights.store import locate, open_component


@dataclass
class Session:
    """Networks on a device.

    ``weights`` says which file (and its sha256's start) each component and adapter came from; ``adapters`` are the
    files given for adapters and beside them, by name.
    """

    cells: dict[str, Any]
    weights: dict[str, str]
    output: Output
    adapters: dict[str, Path] = field(default_factory=dict)

    def compiling(self, label: str) -> AbstractContextManager[Any]:
        """Tell people that graphs are compiled inside."""
        from videogen_cli.runtime.context import compiling

        return compiling(label, self.output)


def open_session(
    plan: Plan, output: Output, *, fresh: Iterable[str] = (), only: Iterable[str] | None = None, train: bool = False
) -> Session:
    """Fetch published weights that are not here yet, start the plan's device, and build its components.

    Args:
        plan: what to run.
        output: where progress goes.
        fresh: components that start from random values.
        only: the components needed; None = all.
        train: weights will change; otherwise they may share the memory of their files, and adapters are merged.

    Raises:
        WeightsError: a component has no weights, or a file is missing or does not fit.
        NetworkError: published weights cannot be fetched.
        DeviceError: the device cannot be used.
    """
    fresh = set(fresh)
    names = [c.name for c in plan.spec.components if only is None or c.name in set(only)]
    files = find_weights(plan, names, fresh, output)
    from videogen_cli.runtime import context

    with _hashing(files.values()) as digest:
        context.start(plan.config.device, output)
        cells = {name: _cell(plan, name, files, train, output) for name in names}
        used = {name: f"{plan.config.weights.get(name, path.name)}@{digest(path)}" for name, path in files.items()}
    return Session(cells, used, output, {name: path for name, path in files.items() if name not in cells})


def _cell(plan: Plan, name: str, files: Mapping[str, Path], train: bool, output: Output) -> Any:
    """Build a component and load its file, merged with its adapters' unless it is trained; else draw its weights."""
    from videogen_cli.runtime import module
    from videogen_cli.runtime.precision import compute_dtype

    config = plan.config
    cell = module.build(load_attr(plan.spec.component(name).build), getattr(config, name))
    path = files.get(name)
    if path is None:
        module.initialise(cell, config.seed)
        return cell
    tensors = require_finite(open_component(path, name, [c.name for c in plan.spec.components]), path)
    for adapter in adapters_of(plan.spec, [name]):
        given = {part: files[part] for part in adapter.parts if part in files}
        with errors_at(path):
            tensors = load_attr(adapter.merge)(tensors, given, cell, config, not train, output.info)
    dtype = "fp32" if train else compute_dtype(config.device.target, config.device.dtype)  # training: float32 masters
    module.load(cell, tensors, where=str(path), writable=train, dtype=dtype)
    return cell


def adapters_of(model: ModelSpec, components: Iterable[str]) -> list[AdapterSpec]:
    """Return the adapters that change any of ``components``."""
    chosen = set(components)
    return [adapter for adapter in model.adapters if adapter.component in chosen]


def find_weights(plan: Plan, names: Sequence[str], fresh: set[str], output: Output) -> dict[str, Path]:
    """Return the files of each component that is not ``fresh``, and of the adapters given for them; needs no device.

    What is published and not here yet is fetched, once all other files are known to be there.

    Raises:
        WeightsError: weights are named for an unknown component, or a component that needs some has none.
        NetworkError: published weights cannot be fetched.
    """
    needed = [name for name in names if name not in fresh]
    uris = weight_uris(plan, needed)
    for name in needed:
        if name not in uris:
            hint = f"Give weights.{name}=FILE.safetensors (made by 'vgen convert'), or use --preset "
            raise WeightsError(
                f"no weights for the component '{name}'",
                where=plan.spec.name,
                hint=f"{hint}{plan.spec.default_preset}.",
            )
    files = {name: locate(uri) for name, uri in uris.items() if not is_published(uri)}
    prepare_weights(needed_uris(plan, names, needed), plan.offline, output)
    return files | {name: locate(uri) for name, uri in uris.items() if name not in files}


def weight_uris(plan: Plan, needed: Iterable[str]) -> dict[str, str]:
    """Return where the weights of the components ``needed`` are, and of their adapters, as far as that is known.

    Raises:
        WeightsError: the config names weights that the model does not have.
    """
    known, needed = plan.spec.weight_names, list(needed)
    for name in plan.config.weights:
        if name not in known:
            hint = did_you_mean(name, known)
            raise WeightsError(f"{plan.spec.name} has no component '{name}'", where="weights", hint=hint)
    wanted = needed + [part for adapter in adapters_of(plan.spec, needed) for part in adapter.parts]
    return {name: uri for name in wanted if (uri := plan.config.weights.get(name))}


def needed_uris(plan: Plan, names: Iterable[str], loaded: Iterable[str]) -> list[str]:
    """Return where the weights of the components ``loaded`` are, and the files that ``names`` need beside weights."""
    beside = [get_dotted(plan.config, key) for name in names for key in plan.spec.component(name).files]
    return [*weight_uris(plan, loaded).values(), *beside]


@contextmanager
def _hashing(paths: Iterable[Path]) -> Iterator[Callable[[Path], str]]:
    """Hash files in the background, each once; yields what waits for a file's digest."""
    pool = ThreadPoolExecutor(2, thread_name_prefix="hash")
    try:
        found = {path: pool.submit(_digest, path) for path in set(paths)}
        yield lambda path: found[path].result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _digest(path: Path) -> str:
    """Return the start of the sha256 of a weights file, or of all files of a sharded set."""
    single = path.is_file() and path.suffix != ".json"  # LoRA factors may be in files that are no checkpoints
    digests = [sha256_file(file) for file in ((path,) if single else open_checkpoint(path).files)]
    return (digests[0] if len(digests) == 1 else cache_key(files=digests))[:12]


def config_yaml(config: Any) -> str:
    """Return a config as YAML that ``--config`` reads back."""
    return yaml.safe_dump(asdict(config), sort_keys=False)


def default_output_dir(model: str, kind: str = "outputs") -> Path:
    """Return ``<kind>/<model>/<time>``, a folder that does not exist yet."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = Path(kind) / model / stamp
    number = 1
    while folder.exists():
        number += 1
        folder = Path(kind) / model / f"{stamp}-{number}"
    return folder
