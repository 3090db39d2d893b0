"""How the golden cases of T2V-Turbo's second teacher, ModelScope, are run; see :mod:`.parity`."""

from __future__ import annotations

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, networks
from videogen_cli.models.t2v_turbo import modelscope
from videogen_cli.models.t2v_turbo.parity import Outputs, autoencode, predict, run_pipeline


def model_modelscope(case: Case) -> Outputs:
    """All three networks of a diffusers folder, each on its own inputs."""
    cells = networks(case, ("unet", "vae", "text"), "ms", role="base")
    return {
        "eps": predict(cells["unet"], case),
        "hidden": call(cells["text"], case.inputs["tokens"]),
        **autoencode(cells["vae"], case, modelscope.latent_scale(case.config)),
    }


def pipeline_modelscope(case: Case) -> Outputs:
    """See :func:`.parity.run_pipeline`."""
    return run_pipeline(case, modelscope.latent_scale(case.config))
