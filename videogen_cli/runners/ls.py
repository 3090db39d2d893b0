"""``vgen ls``: models, presets, stages."""

from __future__ import annotations

from videogen_cli.config import load_yaml
from videogen_cli.output import Output
from videogen_cli.registry import model_names, spec


def run(output: Output) -> None:
    """List every model that can be named."""
    rows = []
    for name in model_names():
        model = spec(name)
        presets = {preset: str(load_yaml(path).get("description", "")) for preset, path in model.presets().items()}
        stages = [stage.name for stage in model.stages]
        output.result({"model": name, "title": model.title, "presets": presets, "stages": stages})
        rows.append((name, model.summary))
        rows += [("", f"preset {preset}: {text}") for preset, text in presets.items()]
        rows += [("", f"stage {stage.name}: {stage.help}") for stage in model.stages]
    if not output.json:
        output.table("Models", ("", ""), rows)
