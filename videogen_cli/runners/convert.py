"""Turn a published checkpoint into ours (or back), accounting for every key. Never imports MindSpore."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import videogen_cli
from videogen_cli.config import parse_overrides
from videogen_cli.errors import UsageError, WeightsError, did_you_mean
from videogen_cli.files import sha256_file
from videogen_cli.registry import CheckpointSpec, ModelSpec, load_attr, model_names, resolve_config, spec
from videogen_cli.weights import Checkpoint, open_checkpoint
from videogen_cli.weights.dtypes import CAST_TARGETS, DTYPES, written_type
from videogen_cli.weights.finite import require_finite
from videogen_cli.weights.keymap import Account
from videogen_cli.weights.names import errors_at
from videogen_cli.weights.recognise import recognise
from videogen_cli.weights.tensor import LazyTensor
from videogen_cli.weights.writer import save_mindspore_ckpt, save_safetensors

if TYPE_CHECKING:
    from videogen_cli.output import Output

RAW = "raw"
SUFFIXES = (".safetensors", ".ckpt")


@dataclass(frozen=True)
class ConvertRequest:
    """What ``vgen convert`` is asked to do; see its options."""

    type: str
    source: Path
    target: Path | None = None
    check: bool = False
    dtype: str | None = None
    model: str | None = None
    components: Sequence[str] = ()
    params: Path | None = None
    preset: str | None = None
    overrides: Sequence[str] = ()
    root: str | None = None
    export: bool = False
    dry_run: bool = False

    @property
    def writes(self) -> bool:
        """Whether files are to be written."""
        return not (self.check or self.dry_run)


@dataclass(frozen=True)
class _Plan:
    """The account of the keys, whose tensors (exporting: under the original's names) are written."""

    checkpoint: Checkpoint
    account: Account
    labels: dict[str, str]

    @property
    def tensors(self) -> Mapping[str, LazyTensor]:
        """What is written, by name."""
        return self.account.tensors


def run(request: ConvertRequest, output: Output) -> dict[str, Any]:
    """Convert, or with ``check`` only account; return (and print with ``--json``) what was done.

    Raises:
        UsageError: an unknown type, a target of unknown format, or a wrong option.
        WeightsError: the source cannot be read, or its keys do not fit; nothing is written.
        DiskError: the target cannot be written; it is as it was.
    """
    started = time.monotonic()
    _check_request(request)
    plan = _plan_raw(request) if request.type == RAW else _plan(request, output)
    result = _describe(request, plan)
    if plan.account.ok and request.writes:
        result |= _write(request, plan, output)
    output.table(f"Keys of {request.source.name}", ("", "keys", ""), plan.account.rows())
    if not plan.account.ok:
        output.result(result)
        plan.account.require_ok(str(request.source), _mismatch_hint(request, plan))
    result["seconds"] = round(time.monotonic() - started, 3)
    output.result(result)
    return result


def _check_request(request: ConvertRequest) -> None:
    if not request.dry_run and request.check == (request.target is not None):
        raise UsageError("give --target FILE to convert, or --check to account only", where="--target")
    if request.dtype and request.dtype not in CAST_TARGETS:
        raise UsageError(f"'{request.dtype}' is not one of {', '.join(CAST_TARGETS)}", where="--dtype")
    if request.target:
        if request.target.suffix not in SUFFIXES:
            hint = "FILE.safetensors, or FILE.ckpt for MindSpore's own container."
            raise UsageError(f"'{request.target.name}' does not say which format to write", where="--target", hint=hint)
        if request.target.is_dir():
            raise UsageError("is a folder; name the file to write", where=str(request.target))
        if request.source.exists() and request.target.exists() and request.source.samefile(request.target):
            raise UsageError("source and target are the same file", where=str(request.target))
    if request.type == RAW and (request.export or request.components or request.params or request.overrides):
        raise UsageError("'raw' keeps every name as it is and takes no model options", where="--type")


def find_types(name: str, model: str | None = None) -> list[tuple[ModelSpec, CheckpointSpec]]:
    """Return the models (or the one named) that know a ``--type``, and their declarations of it.

    Raises:
        UsageError: nobody knows it.
    """
    models = [spec(model)] if model else [spec(known) for known in model_names()]
    found = [(item, kind) for item in models for kind in item.checkpoints if kind.type == name]
    if not found:
        known = sorted({RAW, *(kind.type for item in models for kind in item.checkpoints)})
        raise UsageError(f"there is no checkpoint type '{name}'", where="--type", hint=did_you_mean(name, known))
    return found


def _plan(request: ConvertRequest, output: Output) -> _Plan:
    """Plan for the model the file is of; where several know the type (OpenCLIP's), for the first that it fits."""
    found = find_types(request.type, request.model)
    make = _plan_export if request.export else _plan_import
    failures: list[_Plan | UsageError | WeightsError] = []
    for model, kind in found:
        try:
            plan = make(request, model, kind)
        except (UsageError, WeightsError) as error:
            failures.append(error)
            continue
        if plan.account.ok:
            if len(found) > 1:
                output.info(
                    f"read as {model.name} has it (--model chooses among {', '.join(m.name for m, _ in found)})"
                )
            return plan
        failures.append(plan)
    if isinstance(failures[0], _Plan):
        return failures[0]
    raise failures[0]


def _plan_raw(request: ConvertRequest) -> _Plan:
    """Keep the weights under their own names."""
    checkpoint = open_checkpoint(request.source, root=request.root)
    _require_numbers(checkpoint, request)
    chosen = {id(tensor) for tensor in checkpoint.tensors.values()}
    outside = [name for name, tensor in checkpoint.everything().items() if id(tensor) not in chosen]
    ignored = dict.fromkeys(outside, "outside the weight dictionary")
    used = {name: (name,) for name in checkpoint.tensors}
    account = Account(used=used, tensors=dict(checkpoint.tensors), ignored=ignored)
    return _Plan(checkpoint, account, {})


def _plan_import(request: ConvertRequest, model: ModelSpec, kind: CheckpointSpec) -> _Plan:
    """Give every key of a published checkpoint its place in our networks."""
    key_map = load_attr(kind.key_map)
    checkpoint = key_map.open(request.source, request.root)
    _require_numbers(checkpoint, request)
    targets = key_map.targets(skeletons(request, model, kind, checkpoint))
    try:
        with errors_at(request.source):
            account = key_map.account(checkpoint.tensors, targets)
    except WeightsError as error:
        if other := _other_kind(request, checkpoint):
            raise WeightsError(error.what, where=error.where, hint=other) from error
        raise
    labels = {"model": model.name, "component": ",".join(_components(request, kind)), **account.metadata}
    return _Plan(checkpoint, account, labels)


def _plan_export(request: ConvertRequest, model: ModelSpec, kind: CheckpointSpec) -> _Plan:
    """Give our weights the original's names."""
    key_map = load_attr(kind.key_map)
    checkpoint = open_checkpoint(request.source, root=request.root)
    _require_numbers(checkpoint, request)
    with errors_at(request.source):
        account = key_map.export(checkpoint.tensors, checkpoint.metadata)
    return _Plan(checkpoint, account, {"model": model.name, "names": kind.type})


def _components(request: ConvertRequest, kind: CheckpointSpec) -> list[str]:
    for name in request.components:
        if name not in kind.components:
            raise UsageError(
                f"'{kind.type}' has no '{name}'", where="--component", hint=did_you_mean(name, kind.components)
            )
    return [name for name in kind.components if not request.components or name in request.components]


def skeletons(
    request: ConvertRequest, model: ModelSpec, kind: CheckpointSpec, checkpoint: Checkpoint
) -> dict[str, Any]:
    """Build the networks a checkpoint is for, without weights.

    Sizes come from the original's hyper-parameters where given (a manifest's own, or ``--params``), else from the
    model's config (its defaults are the published sizes; ``--preset`` and ``--set`` change them).
    """
    config = resolve_config(model, target="cpu", preset=request.preset, overrides=parse_overrides(request.overrides))
    original = _original_params(request, checkpoint)
    given = load_attr(kind.params)(original) if original else {}
    names = _components(request, kind)
    wanted = {name: given.get(name) or getattr(config.config, name) for name in names}
    params = load_attr(kind.key_map).prepare(wanted, checkpoint.tensors)
    return {name: load_attr(model.component(name).build)(params[name]) for name in names}


def _original_params(request: ConvertRequest, checkpoint: Checkpoint) -> Mapping[str, Any] | None:
    if request.params is None:
        return checkpoint.config
    try:
        content = json.loads(request.params.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"is not a readable JSON file: {error}", where=str(request.params)) from error
    config = content.get("config", content) if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise UsageError("must be a JSON object of hyper-parameters", where=str(request.params))
    return config


def _require_numbers(checkpoint: Checkpoint, request: ConvertRequest) -> None:
    if checkpoint.container == "manifest" and request.writes:
        hint = "Add --check, or give the file it describes."
        raise UsageError("is a manifest, which has no numbers to convert", where=str(request.source), hint=hint)


def _other_kind(request: ConvertRequest, checkpoint: Checkpoint) -> str | None:
    """Say what a file looks like when that is not what was asked for."""
    seen = recognise(checkpoint)
    if seen is None or seen.type == request.type:
        return None
    known = any(kind.type == seen.type for name in model_names() for kind in spec(name).checkpoints)
    return f"The file looks like {seen.title}." + (f" Its type is '{seen.type}'." if known else "")


def _mismatch_hint(request: ConvertRequest, plan: _Plan) -> str | None:
    if other := _other_kind(request, plan.checkpoint):
        return other
    if plan.account.mismatched and not (request.params or request.preset or request.overrides):
        return (
            "The expected shapes are those of the published model, as far as the source has no config.json of its own. "
            "For a model of another size give its hyper-parameters: --params case.json, --preset NAME, or "
            "--set unet.model_channels=64."
        )
    absent = {name.partition(".")[0] for name in plan.account.missing}
    present = {name.partition(".")[0] for name in plan.account.used}
    if present and absent and not absent & present:
        return f"It has no {' and no '.join(sorted(absent))}. To convert the rest: --component {sorted(present)[0]}"
    return None


def _describe(request: ConvertRequest, plan: _Plan) -> dict[str, Any]:
    checkpoint = plan.checkpoint
    return {
        "verb": "convert",
        "model": plan.labels.get("model"),
        "type": request.type,
        "source": str(request.source),
        "container": checkpoint.container,
        "weights_root": checkpoint.weights_root,
        **({"other_weights": checkpoint.others} if checkpoint.others else {}),
        **({"placeholders": checkpoint.unknown_globals} if checkpoint.unknown_globals else {}),
        "source_params": sum(tensor.size for tensor in checkpoint.tensors.values()),
        "tensors": len(plan.tensors),
        "estimate": _estimate(plan, request.dtype),
        "account": plan.account.to_dict(),
    }


def _estimate(plan: _Plan, dtype: str | None) -> dict[str, Any]:
    """Return how many numbers each component has, and the bytes of all of them when written."""
    sizes: dict[str, int] = {}
    tensors, only = plan.tensors, plan.labels.get("component", "")
    for name, tensor in tensors.items():
        component = only if only and "," not in only else name.partition(".")[0]  # factors do not name theirs
        sizes[component] = sizes.get(component, 0) + tensor.size
    written = sum(tensor.size * DTYPES[written_type(tensor.dtype, dtype)].itemsize for tensor in tensors.values())
    return {"params": sum(sizes.values()), "params_by_component": sizes, "bytes": written}


def _write(request: ConvertRequest, plan: _Plan, output: Output) -> dict[str, Any]:
    """Write the target while the source is hashed; return what was written."""
    assert request.target is not None
    tensors = plan.tensors if request.type == RAW else require_finite(plan.tensors, request.source)
    total = sum(tensor.nbytes for tensor in tensors.values())
    labels = {
        **plan.labels,
        "type": request.type,
        "source": request.source.name,
        "vgen_version": videogen_cli.__version__,
    }
    with (
        _source_hash(plan.checkpoint) as digest,
        output.progress(f"Writing {request.target.name}", total, unit="bytes") as bar,
    ):
        if request.target.suffix == ".ckpt":
            files = save_mindspore_ckpt(request.target, tensors, request.dtype, progress=bar.advance)
        else:
            files = save_safetensors(
                request.target,
                tensors,
                {**labels, "source_sha256": "0" * 64},
                request.dtype,
                progress=bar.advance,
                final_metadata=lambda: {**labels, "source_sha256": digest()},
            )
    rows = [("file", str(files[-1])), ("tensors", str(len(plan.tensors))), ("source sha256", digest())]
    output.summary("Converted", rows)
    return {"target": str(request.target), "files": [str(file) for file in files], "source_sha256": digest()}


@contextmanager
def _source_hash(checkpoint: Checkpoint) -> Iterator[Callable[[], str]]:
    """Hash a checkpoint's files in the background.

    Yields a function that waits for, and returns, the sha256 of the file, or of what ``sha256sum`` prints for several.
    """
    folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    with ThreadPoolExecutor(2, thread_name_prefix="hash") as pool:
        hashes = {str(file.relative_to(folder)): pool.submit(sha256_file, file) for file in checkpoint.files}

        def digest() -> str:
            if len(hashes) == 1:
                return next(iter(hashes.values())).result()
            listing = "".join(f"{future.result()}  {name}\n" for name, future in sorted(hashes.items()))
            return hashlib.sha256(listing.encode()).hexdigest()

        yield digest
