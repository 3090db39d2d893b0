"""``vgen show``: a model's resolved config with provenance, and its parts."""

from __future__ import annotations

from typing import Any

from videogen_cli.config import get_dotted
from videogen_cli.output import Output
from videogen_cli.registry import ModelSpec, resolve_config, spec
from videogen_cli.runners.plan import Plan, component_sizes
from videogen_cli.runners.requests import TrainRequest


def run(request: TrainRequest, components_only: bool, output: Output) -> None:
    """Show what ``request`` resolves to."""
    from videogen_cli.config import parse_overrides

    model = spec(request.model)
    stage = model.stage(request.stage).name if request.stage else None
    choice: dict[str, Any] = {"preset": request.preset, "stage": stage, "file": request.config_file}
    resolved = resolve_config(model, overrides=parse_overrides(request.overrides), **choice)
    plan = Plan(model, resolved, request.preset, stage)
    sizes = component_sizes(plan)
    output.result(_record(plan, sizes, components_only))
    if output.json:
        return
    rows = [(name, f"{size:,}", model.component(name).help) for name, size in sizes.items()]
    output.table(f"{model.title}: networks", ("component", "parameters", ""), rows)
    if components_only:
        return
    _show_parts(model, output)
    values = ((key, _text(get_dotted(resolved.config, key)), source) for key, source in resolved.sources.items())
    output.table("Config", ("key", "value", "from"), values)


def _record(plan: Plan, sizes: dict[str, int], components_only: bool) -> dict[str, Any]:
    model = plan.spec
    record: dict[str, Any] = {"model": model.name, "preset": plan.preset, "components": sizes}
    if not components_only:
        record |= {
            "title": model.title,
            "source": model.source,
            "stages": {stage.name: stage.help for stage in model.stages},
            "inputs": {item.name: item.help for item in model.inputs},
            "checkpoints": {item.type: item.help for item in model.checkpoints},
            "config": plan.resolved.to_dict(),
            "sources": plan.resolved.sources,
        }
    return record


def _show_parts(model: ModelSpec, output: Output) -> None:
    rows = [("stage", item.name, item.help) for item in model.stages]
    rows += [("input", item.name, item.help) for item in model.inputs]
    rows += [("checkpoint", item.type, item.help) for item in model.checkpoints]
    output.table(model.source, ("", "", ""), rows)


def _text(value: Any) -> str:
    return "''" if value == "" else str(value)
