"""``vgen show``: a model's resolved config with provenance, and its parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from videogen_cli.config import get_dotted, parse_overrides
from videogen_cli.output import Output
from videogen_cli.registry import ModelSpec, resolve_config, spec
from videogen_cli.runners.plan import Plan, component_sizes
from videogen_cli.runners.requests import TrainRequest

PARTS = ("components", "checkpoints")


def run(request: TrainRequest, part: str | None, output: Output) -> None:
    """Show what ``request`` resolves to: all of it as YAML that ``--config`` reads back, or one of :data:`PARTS`.

    Raises:
        UsageError: an unknown model, preset, stage or key, or a value of the wrong type.
    """
    model = spec(request.model)
    stage = model.stage(request.stage).name if request.stage else None
    choice: dict[str, Any] = {"preset": request.preset, "stage": stage, "file": request.config_file}
    resolved = resolve_config(model, overrides=parse_overrides(request.overrides), **choice)
    plan = Plan(model, resolved, request.preset, stage)
    sizes = component_sizes(plan)
    record = _record(plan, sizes)
    output.result({"model": model.name, part: record[part]} if part else record)
    if part == "components":
        rows = [(name, f"{size:,}", model.component(name).help) for name, size in sizes.items()]
        output.table(f"{model.title}: networks", ("component", "parameters", ""), rows)
    elif part == "checkpoints":
        rows = [(item.type, ", ".join(item.components), item.help) for item in model.checkpoints]
        output.table(f"{model.title}: what 'vgen convert' reads", ("--type", "components", ""), rows)
    else:
        output.text("\n".join([*_about(model, sizes), *_config_lines(plan)]))


def _record(plan: Plan, sizes: dict[str, int]) -> dict[str, Any]:
    model = plan.spec
    return {
        "model": model.name,
        "title": model.title,
        "source": model.source,
        "preset": plan.preset,
        "stage": plan.stage,
        "components": sizes,
        "stages": {stage.name: stage.help for stage in model.stages},
        "inputs": {item.name: item.help for item in model.inputs},
        "checkpoints": {item.type: item.help for item in model.checkpoints},
        "adapters": {item.name: item.help for item in model.adapters},
        "config": plan.resolved.to_dict(),
        "sources": plan.resolved.sources,
    }


def _about(model: ModelSpec, sizes: dict[str, int]) -> Iterator[str]:
    """Yield comment lines on what the model has beside its config."""
    yield f"# {model.title}: {model.summary}"
    if model.source:
        yield f"# {model.source}"
    rows = [("component", name, f"{size:,} parameters; {model.component(name).help}") for name, size in sizes.items()]
    rows += [("stage", item.name, item.help) for item in model.stages]
    rows += [("input", item.name, f"{item.kind}; {item.help}") for item in model.inputs]
    rows += [("checkpoint", item.type, item.help) for item in model.checkpoints]
    rows += [("published", f"hub:{model.name}/{item.name}", item.help) for item in model.published]
    for item in model.adapters:
        rows += [("adapter", item.name, f"weights.{item.name}, for the {item.component}; {item.help}")]
        rows += [("", name, f"weights.{name}; {text}") for name, text in item.beside.items()]
    width = max(len(name) for _, name, _ in rows)
    for kind, name, text in rows:
        yield f"# {kind:<10}  {name:<{width}}  {text}"


def _config_lines(plan: Plan) -> list[str]:
    """Return the config as YAML lines, each value with the layer it came from as a comment."""
    lines: list[tuple[str, str]] = []
    open_sections: list[str] = []
    for key, source in plan.resolved.sources.items():
        *sections, name = key.split(".")
        for depth, section in enumerate(sections):
            if open_sections[: depth + 1] != sections[: depth + 1]:
                lines.append(("  " * depth + f"{section}:", ""))
        open_sections = sections
        lines.append((f"{'  ' * len(sections)}{name}: {_yaml(get_dotted(plan.config, key))}", source))
    width = min(56, max(len(text) for text, _ in lines))
    return [f"{text:<{width}}  # {source}" if source else text for text, source in lines]


def _yaml(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    return text.removesuffix("...\n").strip()
