"""``vgen train``: one stage of one model, from its declaration to checkpoints on disk."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from videogen_cli.errors import UsageError
from videogen_cli.files import write_text
from videogen_cli.output import Output
from videogen_cli.registry import load_attr
from videogen_cli.runners.plan import Plan
from videogen_cli.runners.requests import TrainRequest
from videogen_cli.runners.session import config_yaml, default_output_dir, open_session


def run(request: TrainRequest, plan: Plan, output: Output) -> dict[str, Any]:
    """Train the stage a request names, or go on with a run that was stopped.

    Returns:
        A summary: steps, seconds, final loss, the newest checkpoint, the output folder.

    Raises:
        UsageError: the folder holds a run and ``--resume`` was not given.
        Terminated: SIGTERM arrived; the run was saved.
        VgenError: bad data, missing weights, a full disk, a loss that stays non-finite.
    """
    stage = plan.spec.stage(request.stage)
    folder = Path(request.output_dir) if request.output_dir else default_output_dir(plan.spec.name, "runs")
    if (folder / "checkpoints").is_dir() and not request.resume:
        hint = "Go on with it by --resume auto, or choose another --output-dir."
        raise UsageError("this folder already holds a training run", where=str(folder), hint=hint)
    fresh = stage.trains if plan.config.train.from_scratch else ()
    session = open_session(plan, output, fresh=fresh, only=stage.components(plan.config), train=True)
    from videogen_cli.runtime import graphs
    from videogen_cli.train import identity
    from videogen_cli.train.objective import StageContext
    from videogen_cli.train.trainer import Trainer

    rank, world = int(os.environ.get("RANK_ID", "0")), int(os.environ.get("RANK_SIZE", "1"))
    context = StageContext(plan.config, session.cells, session.weights, output, rank, world, folder, session.adapters)
    objective = load_attr(stage.objective)(context)
    run_config = _identity(plan, session.weights)
    graphs.keep("train", identity.of_graphs(run_config), rank, world)
    trainer = Trainer(
        objective,
        plan.config.train,
        seed=plan.config.seed,
        dtype=plan.config.device.dtype,
        output_dir=folder,
        output=output,
        rank=rank,
        world=world,
        run_config=run_config,
    )
    if rank == 0 and not (folder / "config.yaml").exists():
        write_text(folder / "config.yaml", config_yaml(plan.config))
    summary = trainer.run(request.resume)
    result = {"model": plan.spec.name, "stage": stage.name, "output_dir": str(folder), **vars(summary)}
    result["checkpoint"] = str(summary.checkpoint)
    output.result(result)
    rows = [("steps", str(summary.steps)), ("loss", f"{summary.final_loss:.5f}"), ("checkpoint", result["checkpoint"])]
    output.summary(f"{plan.spec.name}: stage {stage.name} trained", rows)
    return result


def _identity(plan: Plan, weights: dict[str, str]) -> dict[str, Any]:
    """Return what a run is made of; of weights only their contents count, not where they lie."""
    contents = {name: text.rpartition("@")[2] for name, text in weights.items()}
    return {**asdict(plan.config), "model": plan.spec.name, "stage": plan.stage, "weights": contents}
