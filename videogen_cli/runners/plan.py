"""From a request to a plan: the model, its resolved config, and what running it would take."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from math import prod
from typing import Any

from videogen_cli.config import Resolved, parse_overrides, set_dotted
from videogen_cli.errors import UsageError, VgenError, did_you_mean
from videogen_cli.files import size_text
from videogen_cli.output import Output
from videogen_cli.registry import ModelSpec, load_attr, model_names, resolve_config, spec
from videogen_cli.runners.requests import InferRequest, Request, TrainRequest

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True)
class Plan:
    """A request whose every choice has been made."""

    spec: ModelSpec
    resolved: Resolved
    preset: str | None
    stage: str | None
    offline: bool = False  # published weights are not fetched

    @property
    def config(self) -> Any:
        """The resolved config."""
        return self.resolved.config

    @property
    def components(self) -> tuple[str, ...]:
        """The components that a run needs: those that make videos, or the stage's."""
        return self.spec.stage(self.stage).components(self.config) if self.stage else self.spec.sampling_components

    @property
    def loaded(self) -> tuple[str, ...]:
        """The components whose weights a run loads: all but those that a stage starts afresh."""
        fresh = self.spec.stage(self.stage).trains if self.stage and self.config.train.from_scratch else ()
        return tuple(name for name in self.components if name not in fresh)


def make_plan(request: Request, output: Output) -> Plan:
    """Resolve a request's model, preset, stage and config.

    Raises:
        UsageError: an unknown model, preset, stage, key, input, or a value of the wrong type.
    """
    model = spec(request.model)
    stage = _stage(model, request)
    if isinstance(request, InferRequest):
        _check_inputs(model, request.inputs)
    preset = request.preset or _default_preset(model, request, output)
    options: dict[str, Any] = {}
    for key, value in request.options.items():
        if value is not None:
            set_dotted(options, key, value)
    resolved = resolve_config(
        model,
        preset=preset,
        stage=stage,
        file=request.config_file,
        overrides=parse_overrides(request.overrides),
        options=options,
    )
    if request.nproc < 1:
        raise UsageError(f"must be at least 1, not {request.nproc}", where="--nproc")
    return Plan(model, resolved, preset, stage, request.offline)


def _default_preset(model: ModelSpec, request: Request, output: Output) -> str | None:
    """Return the preset that ships with weights, and say that it was chosen."""
    if request.config_file or model.default_preset not in model.presets():
        return None
    from videogen_cli.runtime.target import detect_target

    if detect_target() == "cpu":
        output.info(
            f"no preset named and no NPU here: using '{model.default_preset}', a small model that ships with vgen"
            f" (see 'vgen ls' for the others)"
        )
        return model.default_preset
    names = ", ".join(model.presets())
    raise UsageError("name a preset", where="--preset", hint=f"{model.name} has {names}")


def _stage(model: ModelSpec, request: Request) -> str | None:
    if not isinstance(request, TrainRequest):
        return None
    if not request.stage:
        names = ", ".join(stage.name for stage in model.stages) or "none"
        raise UsageError("say which stage to train", where="--stage", hint=f"{model.name} has {names}")
    return model.stage(request.stage).name


def _check_inputs(model: ModelSpec, inputs: list[str]) -> None:
    known = [item.name for item in model.inputs]
    for pair in inputs:
        name, separator, path = pair.partition("=")
        if not separator or not path:
            raise UsageError(f"'{pair}' is not of the form NAME=PATH", where="--input")
        if name not in known:
            hint = did_you_mean(name, known) or f"{model.name} takes no inputs."
            raise UsageError(f"{model.name} has no input '{name}'", where="--input", hint=hint)


def component_sizes(plan: Plan, names: tuple[str, ...] | None = None) -> dict[str, int]:
    """Return the number of parameters of each component, found without MindSpore and without memory."""
    from videogen_cli.runtime.cells import shapes

    sizes = {}
    for component in plan.spec.components:
        if names is None or component.name in names:
            cell = load_attr(component.build)(getattr(plan.config, component.name))
            sizes[component.name] = sum(prod(shape) for shape in shapes(cell).values())
    return sizes


def factor_count(plan: Plan, names: tuple[str, ...]) -> int:
    """Return the number of parameters of low-rank factors beside the components ``names``; needs no MindSpore."""
    from videogen_cli.nets.lora import adapted_modules
    from videogen_cli.weights.lora import Layer

    count = 0
    for name in names:
        for module in adapted_modules(load_attr(plan.spec.component(name).build)(getattr(plan.config, name))):
            shapes = Layer(module.name, module.weight_shape).factor_shapes(plan.config.lora.rank)
            count += sum(prod(shape) for shape in shapes)
    return count


def pipeline_type(plan: Plan) -> Any:
    """Return the class that samples videos with the plan's model.

    Raises:
        UsageError: the model has none.
    """
    if not plan.spec.pipeline:
        able = [name for name in model_names() if spec(name).pipeline]
        raise UsageError(f"{plan.spec.name} cannot make videos yet", hint=f"These can: {', '.join(able)}")
    return load_attr(plan.spec.pipeline)


def describe(plan: Plan, request: Request, verb: str) -> dict[str, Any]:
    """Return what ``--dry-run`` prints: everything that would happen, without importing MindSpore.

    Raises:
        UsageError: the run would be refused for its sizes or settings.
    """
    from videogen_cli.runtime import context

    if isinstance(request, InferRequest):
        pipeline_type(plan).check(plan.config)
    stage = plan.spec.stage(plan.stage) if plan.stage else None
    device = context.plan(plan.config.device)
    sizes = component_sizes(plan, plan.components)
    weights_bytes = sum(sizes.values()) * BYTES["fp32" if stage else device["dtype"]]  # training: float32 masters
    trained = sum(sizes[name] for name in stage.trains) + factor_count(plan, stage.adapts) if stage else 0
    estimate = {
        "params": sum(sizes.values()),
        "params_by_component": sizes,
        "trained_params": trained,
        "weights_bytes": weights_bytes,
        # Training keeps gradients and two moments of what it trains, and EMA where it is on, in float32.
        "memory_bytes": weights_bytes + trained * 4 * (4 if plan.config.train.ema_decay else 3),
    }
    return {
        "model": plan.spec.name,
        "verb": verb,
        "stage": plan.stage,
        "preset": plan.preset,
        "config": plan.resolved.to_dict(),
        "device": device,
        "parallel": {
            "processes": request.nproc,
            "zero_stage": plan.config.device.zero_stage,
            "sequence_parallel": plan.config.device.sequence_parallel,
        },
        "estimate": estimate,
        "files": {
            "output_dir": str(request.output_dir or ""),
            "weights": dict(plan.config.weights),
            "published": published_weights(plan),
            "missing": missing_weights(plan),
        },
    }


def published_weights(plan: Plan) -> list[dict[str, Any]]:
    """Return the published weights that a run loads, and whether they are here; makes no connection."""
    from videogen_cli.runners import download
    from videogen_cli.runners.session import needed_uris

    return download.describe_all(needed_uris(plan, plan.components, plan.loaded))


def missing_weights(plan: Plan) -> list[str]:
    """Return which components have no weights file, or one that is not there and will not be fetched; adapters too."""
    from videogen_cli.runners.session import weight_uris
    from videogen_cli.weights.published import is_published
    from videogen_cli.weights.store import locate

    def is_there(uri: str) -> bool:
        try:
            return bool(uri) and ((is_published(uri) and not plan.offline) or locate(uri).exists())
        except VgenError:
            return False

    given = weight_uris(plan, plan.loaded)
    return [name for name in sorted({*plan.loaded, *given}) if not is_there(given.get(name, ""))]


def show_description(description: dict[str, Any], output: Output) -> None:
    """Print a dry run: JSON for pipelines, tables for people."""
    output.result(description)
    if output.json:
        return
    rows = [(key, description[key]) for key in ("model", "verb", "stage", "preset") if description[key]]
    device = description["device"]
    rows += [(f"device.{key}", value) for key, value in device.items() if key not in ("env", "notes") and value != ""]
    rows += [(f"${name}", value) for name, value in device["env"].items()]
    rows += [("parameters", f"{description['estimate']['params']:,}")]
    what = "weights, gradients, optimizer" if description["stage"] else "weights"
    rows += [(what, f"{description['estimate']['memory_bytes'] / 2**20:,.0f} MB")]
    rows += [(f"weights.{name}", path) for name, path in description["files"]["weights"].items()]
    for item in description["files"]["published"]:
        state = item["path"] or f"{item['state']}, {size_text(item['bytes'])} of {item['repo']}"
        rows.append((item["weights"], state))
    output.table("Nothing was run. This is what would be:", ("", ""), rows)
    for note in device["notes"]:
        output.warn(note)
    if missing := description["files"]["missing"]:
        output.warn(f"there are no weights yet for {', '.join(missing)}")


def run_request(request: Request, verb: str, output: Output) -> None:
    """Plan a request and run it, on as many processes as it asks for; or, for a dry run, say what would be run."""
    plan = make_plan(request, output)
    if request.dry_run:
        show_description(describe(plan, request, verb), output)
        return
    if request.nproc > 1 and "RANK_ID" not in os.environ:
        from videogen_cli.runners.download import prepare_weights
        from videogen_cli.runners.session import needed_uris
        from videogen_cli.runtime.launch import launch

        # Before there are several: they give up on each other when one takes too long to start.
        prepare_weights(needed_uris(plan, plan.components, plan.loaded), plan.offline, output)
        raise SystemExit(launch(sys.argv[1:], request.nproc))
    load_attr(f"videogen_cli.runners.{verb}:run")(request, plan, output)
