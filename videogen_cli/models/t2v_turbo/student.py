"""The student UNet as it is loaded: a teacher's weights, LoRA factors, and the projection that neither file holds.

What the original's ``LoraHandler`` and ``collapse_lora`` do (Ji4chenLi/t2v-turbo, app.py, utils/lora.py), in float32
before anything is cast, and refusing what does not belong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from videogen_cli.errors import WeightsError
from videogen_cli.models.t2v_turbo.weights import LORA_KEYS, TIME_COND_PROJ, student_weights, with_projection
from videogen_cli.weights.finite import require_finite
from videogen_cli.weights.lora import DOWN, UP, Lora, load_lora, open_lora_file
from videogen_cli.weights.names import plain
from videogen_cli.weights.readers import open_checkpoint
from videogen_cli.weights.recognise import recognise
from videogen_cli.weights.tensor import LazyTensor

LORA, PROJECTION = "lora", "time_cond_proj"  # the names of the files in ``weights.*``


def adapted(
    weights: Mapping[str, LazyTensor],
    files: Mapping[str, Path],
    unet: Any,
    config: Any,
    merged: bool,
    say: Callable[[str], None],
) -> dict[str, LazyTensor]:
    """Return what is loaded into the UNet (see ``AdapterSpec.merge``): ``weights`` and the factors ``files["lora"]``.

    Where factors stay apart (``merged`` is False) only the projection that goes with them is added.

    Raises:
        WeightsError: the factors are not for this network; ``weights`` are factors, or a teacher's where a student's
            are needed; a projection is given and no factors that go with it.
    """
    _require_network(weights, unet)
    if not config.unet.time_cond_proj_dim:
        return _teacher(weights, files)
    shape = tuple(unet.time_cond_proj.weight.shape)
    given = read_projection(files[PROJECTION], shape) if PROJECTION in files else None
    if LORA not in files and given is None and not merged and config.lora.zero_projection:
        given = np.zeros(shape, np.float32)
    if LORA in files:
        lora = open_factors(files[LORA], unet)
        if merged:
            if TIME_COND_PROJ in weights:
                say(f"weights.unet has {TIME_COND_PROJ}: if it is a merged student, factors are now added twice")
            return student_weights(weights, lora, time_cond_proj=given, log=say)
        return with_projection(weights, shape, given, lora.base, say)
    if merged and given is not None:
        what = "is the weight that LoRA factors are added to, and there are none"
        raise WeightsError(what, where=f"weights.{PROJECTION}", hint="Give weights.lora too, or leave it out.")
    if merged and TIME_COND_PROJ not in weights and config.sample.sampler == "lcm":
        hint = "Give its LoRA factors as weights.lora, or a merged student as weights.unet; or sample the teacher: "
        hint += "sample.sampler=ddim unet.time_cond_proj_dim=0 sample.num_inference_steps=50."
        raise WeightsError("holds a teacher, which cannot sample in a few steps", hint=hint)
    return with_projection(weights, shape, given, None, say)


def _require_network(weights: Mapping[str, LazyTensor], unet: Any) -> None:
    if any(name.endswith(UP) or name.isdecimal() for name in weights):
        hint = "Give it as weights.lora, and the UNet it adapts as weights.unet."
        raise WeightsError("holds LoRA factors, not a UNet", hint=hint)
    names = [name for name, _ in unet.parameters_and_names() if name != TIME_COND_PROJ]
    if missing := [name for name in names if name not in weights]:
        hint = "It is of another network: choose the preset it was made for, or look at it by 'vgen convert --check'."
        raise WeightsError(f"lacks {len(missing)} of the UNet's {len(names)} weights, first '{missing[0]}'", hint=hint)


def _teacher(weights: Mapping[str, LazyTensor], files: Mapping[str, Path]) -> dict[str, LazyTensor]:
    """Return a network's weights that has no guidance projection, and so is no student."""
    if files:
        hint = "Set unet.time_cond_proj_dim=256, or leave it out."
        raise WeightsError(
            "is for a student, and this UNet is a teacher", where=f"weights.{next(iter(files))}", hint=hint
        )
    return dict(weights)


def open_factors(path: Path, unet: Any) -> Lora:
    """Read LoRA factors for a student UNet, from any container.

    Raises:
        WeightsError: they are damaged, of another network, or no factors; the message says what the file looks like.
    """
    try:
        lora = load_lora(path, LORA_KEYS.targets({"unet": unet})["unet"], LORA_KEYS)
    except WeightsError as error:
        if looks := _looks_like(path):
            raise WeightsError("holds no LoRA factors", where=error.where, hint=looks) from error
        raise
    return replace(lora, factors={name: _finite(pair, path) for name, pair in lora.factors.items()})


def _finite(pair: tuple[LazyTensor, LazyTensor], path: Path) -> tuple[LazyTensor, LazyTensor]:
    checked = require_finite({UP: pair[0], DOWN: pair[1]}, path)
    return checked[UP], checked[DOWN]


def _looks_like(path: Path) -> str | None:
    """Say what a file is that holds no factors."""
    with suppress(WeightsError):
        kind = recognise(open_lora_file(path))
        if kind and kind.type != "lora":
            return f"The file looks like {kind.title}; weights of whole networks are given as weights.unet."
    return None


def read_projection(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read the base weight of the projection of the guidance scale: an ``.npy`` file, or the only tensor of another.

    Raises:
        WeightsError: it cannot be read, holds something else, or has another shape.
    """
    tensor = _only_array(path)
    if tensor.shape != shape:
        raise WeightsError(f"is {list(tensor.shape)}, the projection needs {list(shape)}", where=plain(path))
    if not np.isfinite(tensor).all():
        raise WeightsError("holds NaN or infinity", where=plain(path), hint="It is damaged.")
    return tensor


def _only_array(path: Path) -> np.ndarray:
    """Return the one array of a file, or the one that is called like the projection, as float32."""
    if path.suffix == ".npy":
        try:
            return np.load(path, allow_pickle=False).astype(np.float32)
        except (OSError, ValueError) as error:
            raise WeightsError(f"cannot be read: {error}", where=plain(path)) from error
    tensors = open_checkpoint(path).tensors
    named = [name for name in tensors if name.endswith(TIME_COND_PROJ)] or list(tensors)
    if len(named) != 1:
        raise WeightsError(f"holds {len(tensors)} tensors, none called '{TIME_COND_PROJ}'", where=plain(path))
    return tensors[named[0]].float32()
