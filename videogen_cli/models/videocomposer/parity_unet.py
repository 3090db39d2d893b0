"""How the golden cases around VideoComposer's UNet are run: the network, its encoders, its loss, and its sampling.

Inputs and outputs have upstream's names (ali-vilab/videocomposer). Shapes: b samples, c channels, f frames, h w size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from videogen_cli.diffusion.guidance import guide
from videogen_cli.errors import DataError
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_gradients import by_original_name, gradients, norm
from videogen_cli.metrics.parity_networks import call, networks, read_weights
from videogen_cli.models.videocomposer.diffusion import ddim, gaussian_diffusion
from videogen_cli.models.videocomposer.params import unet_params
from videogen_cli.nets.params.unet3d import SPATIAL_CONDITIONS, TOKEN_CONDITIONS

Outputs = dict[str, Any]
Arrays = Mapping[str, np.ndarray]
KIND = "videocomposer"
_TEXT = "y"
_IGNORED = "histogram"  # an argument that upstream does not look at
_REMARKS = ("fps",)  # inputs of the UNet that nobody lists among the conditions


def unet(case: Case) -> Outputs:
    """One call for every subset of conditions, and for every further timestep that the case names."""
    cell = networks(case, ("unet",), KIND)["unet"]
    subsets = case.record.get("subsets") or {"": [n for n in (_TEXT, *_conditions()) if n in case.inputs]}
    results: Outputs = {}
    for subset, names in subsets.items():
        for steps in ("t", *case.record.get("timestep_inputs", ())):
            output = ".".join(part for part in ("eps", subset, "" if steps == "t" else steps) if part)
            if output in case.outputs:
                predict = _predictor(cell, case, names)
                results[output] = predict(case.inputs["x"], case.inputs[steps])
    return results


def unet_stc_encoders(case: Case) -> Outputs:
    """Every encoder alone, the style image's token, and the sum of all encodings."""
    params = unet_params(case.config)["unet"]
    cell = _only_conditions(case, params)
    size = case.config.get("stc_pool_size", 128) // 4
    given = {name: case.inputs[name] for name in SPATIAL_CONDITIONS if name in case.inputs}
    results = {name: _encode(cell, {name: video}, size) for name, video in given.items()}
    if "image" in case.inputs:
        results["image_context"] = call(cell.image, case.inputs["image"])
    return {**results, "concat_all": _encode(cell, given, size)}


def sampling_loop(case: Case) -> Outputs:
    """Guided DDIM: the branch without text keeps every other condition, and sees the token of an all-zero image."""
    config, given = case.config, case.inputs
    cell = networks(case, ("unet",), KIND)["unet"]
    names, scale = config["guidances"], config.get("guide_scale")
    conditional = _predictor(cell, case, names)
    absent = {"image": np.zeros_like(given["image"])} if "image" in names else {}
    unconditional = _predictor(cell, case, [name for name in names if name != _TEXT], absent)

    def denoise(latents: np.ndarray, timestep: int) -> np.ndarray:
        steps = np.full(len(latents), timestep)
        prediction = conditional(latents, steps)
        return prediction if scale is None else guide(prediction, unconditional(latents, steps), scale)

    entering = [given["noise"]]
    final = ddim(
        config,
        denoise,
        given["noise"],
        step_noise=given.get("step_noise"),
        callback=lambda *event: entering.append(event[2].latents),
    )
    return {"x0": final, "trajectory": np.stack(entering[:-1])}


def loss_diffusion(case: Case) -> Outputs:
    """The loss and its gradients, with all conditions and with those dropped that ``mult.*`` says."""
    cells = networks(case, ("unet",), KIND)
    names = case.config["conditions_for_train"]
    kept = {name.removeprefix("mult."): values for name, values in case.inputs.items() if name.startswith("mult.")}
    results = _losses(case, cells, names, None)
    if kept:
        dropped = _losses(case, cells, names, keep_factors(kept, len(case.inputs["z0"])))
        results |= {f"drop.{name}": value for name, value in dropped.items()}
    return results


def keep_factors(kept: Arrays, batch: int) -> np.ndarray:
    """Return the UNet's ``keep`` (b 2+n) for factors (b,) by upstream's names; what is not named is kept."""
    columns = [
        kept.get(_TEXT if name == "text" else name, np.ones(batch)) for name in (TOKEN_CONDITIONS[0], *_conditions())
    ]
    return np.stack(columns, 1).astype(np.float32)


def _losses(case: Case, cells: Mapping[str, Any], names: Iterable[str], keep: np.ndarray | None) -> Outputs:
    from videogen_cli.models.videocomposer.loss import ConditionedDiffusionLoss

    given, diffusion = case.inputs, gaussian_diffusion(case.config)
    noisy = diffusion.schedule.add_noise(given["z0"], given["noise"], given["t"]).astype(np.float32)
    target = diffusion.target(given["z0"], noisy, given["noise"], given["t"]).astype(np.float32)
    arrays = _arguments(cells["unet"], given, names)
    loss = ConditionedDiffusionLoss(cells["unet"])
    (mean, each), grads = gradients(loss, cells, target, noisy, given["t"], *arrays, keep)
    named = {f"grad.{name}": value for name, value in by_original_name(case, KIND, grads).items()}
    return {"loss": mean, "loss_per_sample": each, "grad_norm": norm(grads), **named}


def _predictor(cell: Any, case: Case, names: Iterable[str], instead: Arrays | None = None) -> Callable[..., np.ndarray]:
    """Return a function of latents and timesteps that runs the UNet with the conditions ``names`` only."""
    arguments = _arguments(cell, {**case.inputs, **(instead or {})}, names)
    return lambda latents, steps: call(cell, latents, steps, *arguments)


def _arguments(cell: Any, given: Arrays, names: Iterable[str]) -> list[np.ndarray | None]:
    """Return what follows the timesteps in the UNet's arguments; without a text its place is taken by ``zero_y``.

    Raises:
        DataError: a condition is not given, or the UNet has no encoder for it.
    """
    wanted = set(names) - {_IGNORED}
    for name in wanted:
        if name not in given or (name in SPATIAL_CONDITIONS and name not in cell.params.conditions):
            raise DataError("is no condition of this UNet, or not given", where=name)
    if unknown := wanted - {_TEXT, *_conditions()}:
        raise DataError("is no condition", where=min(unknown))
    batch = len(next(given[name] for name in ("x", "z0", "noise") if name in given))
    text = given[_TEXT] if _TEXT in wanted else np.repeat(given["zero_y"], batch, 0)
    return [text, *(given[n] if n in wanted else None for n in _conditions()), *(given.get(n) for n in _REMARKS)]


def _conditions() -> tuple[str, ...]:
    return "image", *SPATIAL_CONDITIONS


def _only_conditions(case: Case, params: Any) -> Any:
    """Build the condition encoders without the UNet around them, and load their weights."""
    from videogen_cli.runtime import context

    context.start(case.device)
    from videogen_cli.nets.conditions import Conditions
    from videogen_cli.runtime import module
    from videogen_cli.runtime.cells import Cell

    holder = Cell()
    holder.conditions = module.build(Conditions, params)
    module.load(holder, read_weights(case, {"unet": holder}, KIND)["unet"], where=case.name)
    return holder.conditions


def _encode(cell: Any, videos: Arrays, size: int) -> np.ndarray:
    from videogen_cli.metrics.parity_networks import tensor

    return cell(tuple(tensor(videos.get(name)) for name in SPATIAL_CONDITIONS), size, size).asnumpy()
