"""Typed configuration: dataclasses say which keys exist, layers say where each value came from.

Layers are applied in order (defaults < device profile < stage < preset < preset's stage < file < ``key=value`` <
options). An unknown key is an error that names its nearest neighbours; a wrong type says what was expected.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videogen_cli.errors import UsageError, did_you_mean

DTYPES = ("fp32", "fp16", "bf16")


@dataclass
class DeviceConfig:
    """Where and how networks run. A plugin declares its values per target; every key can be overridden."""

    target: str = "auto"  # auto | cpu | ascend
    mode: str = "graph"  # graph | pynative
    jit_level: str = "O0"  # O0 kernel by kernel | O1 fused | O2 whole graph (Ascend)
    dtype: str = "fp32"  # compute dtype: fp32 | fp16 | bf16
    recompute: bool = False  # trade time for memory: activations are computed again in backward
    deterministic: bool = True
    memory_limit_gb: float = 0.0  # 0 = no limit
    device_id: int = 0
    threads: int = 0  # CPU threads; 0 = what OMP_NUM_THREADS or the CPU affinity allow
    zero_stage: int = 0  # optimizer state (1), gradients (2), parameters (3) sharded over data-parallel ranks
    sequence_parallel: int = 1
    compile_cache: bool = True
    kernels: str = "auto"  # compiled operators for CPUs: auto (where they can be made) | on (must be) | off
    env: dict[str, str] = field(default_factory=dict)  # variables set before the device starts

    def __post_init__(self) -> None:
        self.kernels = {"True": "on", "False": "off"}.get(self.kernels, self.kernels)  # what YAML reads on and off as


@dataclass
class SampleConfig:
    """What ``vgen infer`` makes."""

    num_inference_steps: int = 4
    guidance_scale: float = 7.5
    num_frames: int = 16
    height: int = 320
    width: int = 512
    fps: int = 8  # playback rate; systems with an fps condition are given the same number
    num_videos: int = 1  # videos per prompt, each with its own seed
    batch_size: int = 1  # videos sampled together
    decode_batch: int = 0  # frames decoded together; 0 = as many of a video's as memory has room for
    negative_prompt: str = ""
    sampler: str = "ddim"
    format: str = "mp4"  # mp4 | gif | png | npy


@dataclass
class DataConfig:
    """A dataset of clips: a CSV with ``video`` and ``caption`` columns, or the built-in Moving Shapes world."""

    path: str = ""  # CSV file; empty = Moving Shapes, rendered once into the cache
    root: str = ""  # folder the CSV's video paths are relative to; empty = the CSV's folder
    num_clips: int = 4096  # Moving Shapes clips to render; of a CSV, the first so many rows (0 = all)
    num_frames: int = 16
    height: int = 320
    width: int = 512
    frame_stride: int = 1
    workers: int = 2
    drop_caption: float = 0.1  # share of captions replaced by "" for classifier-free guidance
    max_bad_fraction: float = 0.05  # stop when more than this share of the rows cannot be used
    decode_timeout: float = 30.0  # seconds for one clip


@dataclass
class CycleConfig:
    """One cycle of the learning rate, and of Adam's first beta the other way (DeepSpeed's ``OneCycle``)."""

    min_rate: float = 1e-5  # at the first update, and again at the end of the cycle
    max_rate: float = 5e-5
    rise_steps: int = 2000  # updates from the least rate to the greatest
    fall_steps: int = 2000  # and back
    decay_steps: int = 0  # after the cycle the rate is divided by 1 + rate_decay per so many updates; 0 = it stays
    rate_decay: float = 0.0
    cycle_betas: bool = True  # False keeps train.beta1 and train.beta2
    min_beta1: float = 0.85  # where the rate is greatest, and at the first update
    max_beta1: float = 0.99
    beta1_decay: float = 0.0  # after the cycle beta1 is multiplied by 1 + beta1_decay per decay_steps updates
    beta2: float = 0.99


@dataclass
class TrainConfig:
    """The one training loop's settings."""

    from_scratch: bool = False  # trained components start from random values, whatever weights are configured
    rate_factors: dict[str, float] = field(default_factory=dict)  # component -> its share of the rate; 0 freezes it
    max_steps: int = 1000
    batch_size: int = 1  # per rank and accumulation step
    accumulation: int = 1
    learning_rate: float = 1e-4
    end_learning_rate: float = 0.0
    schedule: str = "constant"  # constant | linear | cosine | one_cycle
    cycle: CycleConfig = field(default_factory=CycleConfig)  # of the schedule one_cycle, in place of the rates above
    warmup_steps: int = 0
    warmup_from_zero: bool = False  # the first step's rate is 0, and the peak comes after the last of warmup_steps
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    undecayed: list[str] = field(default_factory=list)  # parameters whose name holds one of these do not decay
    clip_norm: float = 0.0  # 0 = off
    ema_decay: float = 0.0  # 0 = off
    ema_rise: str = "hyperbolic"  # how the decay starts: hyperbolic (1+n)/(10+n) | exponential 1-e^(-n/2000) | none
    loss_scale: str = "auto"  # auto (dynamic for fp16, else none) | none | a fixed number
    checkpoint_every: int = 500
    keep_checkpoints: int = 3
    validate_every: int = 0  # 0 = off
    preview_every: int = 0  # 0 = off
    log_every: int = 10
    max_non_finite: int = 20  # consecutive skipped steps before the run stops with exit code 7
    tensorboard: bool = True


@dataclass
class DiffusionConfig:
    """The forward process of a latent diffusion model and how latents enter it; defaults are Stable Diffusion's."""

    train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    prediction_type: str = "epsilon"
    latent_scale: float = 0.18215  # latents of the autoencoder are multiplied by this


@dataclass
class ModelConfig:
    """What every model's config has; a plugin subclasses it and adds one section per component."""

    seed: int = 0
    weights: dict[str, str] = field(default_factory=dict)  # component -> file; "asset:..." ships with vgen
    device: DeviceConfig = field(default_factory=DeviceConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class Layer:
    """One source of values: ``source`` names it for people, ``values`` is a nested mapping."""

    source: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Resolved:
    """A finished config and, for every leaf key, the layer its value came from."""

    config: Any
    sources: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain nested dictionaries."""
        return dataclasses.asdict(self.config)

    def hash(self) -> str:
        """Return 12 hexadecimal digits that identify the values (not where they came from)."""
        return config_hash(self.config)


def config_hash(config: Any) -> str:
    """Return 12 hexadecimal digits of the sha256 of a config's values."""
    text = json.dumps(dataclasses.asdict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def leaf_keys(schema: type, prefix: str = "") -> list[str]:
    """List all dotted keys of a config dataclass, sections expanded; free-form mappings count as one key."""
    hints = typing.get_type_hints(schema)
    keys: list[str] = []
    for item in dataclasses.fields(schema):
        kind = hints[item.name]
        if dataclasses.is_dataclass(kind):
            keys += leaf_keys(typing.cast(type, kind), f"{prefix}{item.name}.")
        else:
            keys.append(f"{prefix}{item.name}")
    return keys


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn ``a.b=1`` strings into a nested dictionary; values are read as YAML.

    Raises:
        UsageError: a string has no ``=`` or no key, or its value is not YAML.
    """
    import yaml

    values: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise UsageError(f"'{pair}' is not of the form key=value", hint="Example: sample.num_frames=8")
        try:
            value = yaml.safe_load(text) if text else ""
        except yaml.YAMLError as error:
            raise UsageError("the value cannot be read", where=key, hint=str(error).splitlines()[0]) from error
        set_dotted(values, key, value)
    return values


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Set ``values["a"]["b"]`` from the dotted key ``a.b``, making sections on the way."""
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UsageError("is given both a value and sub-keys", where=key)
    values[last] = value


def load_yaml(path: Path | str) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UsageError: the file is missing, not YAML, or not a mapping.
    """
    import yaml

    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError("no such config file", where=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError("is not a readable YAML file", where=str(path), hint=str(error).splitlines()[0]) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError("must be a YAML mapping of config keys", where=str(path))
    return value


def resolve(schema: type, layers: Sequence[Layer]) -> Resolved:
    """Merge ``layers`` over the defaults of ``schema``.

    Raises:
        UsageError: an unknown key or a value of the wrong type; the message names the layer and the nearest keys.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    known = leaf_keys(schema)
    merged = OmegaConf.structured(schema)
    sources = dict.fromkeys(known, "default")
    for layer in layers:
        touched = _check_keys(schema, layer.values, known, layer.source)
        try:
            merged = OmegaConf.merge(merged, OmegaConf.create(dict(layer.values)))
        except OmegaConfBaseException as error:
            raise _type_error(error, layer) from error
        sources.update(dict.fromkeys(touched, layer.source))
    config = OmegaConf.to_object(merged)
    _check_choices(config)
    return Resolved(config, sources)


def _check_keys(schema: type, values: Mapping[str, Any], known: list[str], source: str, prefix: str = "") -> list[str]:
    """Return the leaf keys that ``values`` sets; raise on one the schema does not have."""
    hints = typing.get_type_hints(schema)
    touched: list[str] = []
    for name, value in values.items():
        key = f"{prefix}{name}"
        kind = hints.get(name)
        if kind is None:
            hint = did_you_mean(key, known)
            raise UsageError(f"unknown config key (from {source})", where=key, hint=hint)
        if not dataclasses.is_dataclass(kind):
            touched.append(key)
        elif isinstance(value, Mapping):
            touched += _check_keys(typing.cast(type, kind), value, known, source, f"{key}.")
        else:
            inner = ", ".join(leaf_keys(typing.cast(type, kind), f"{key}."))
            raise UsageError(f"is a section, not a value (from {source})", where=key, hint=f"Its keys: {inner}")
    return touched


def _type_error(error: Exception, layer: Layer) -> UsageError:
    key = getattr(error, "full_key", None)
    lines = str(getattr(error, "msg", None) or error).splitlines()
    return UsageError(f"{lines[0]} (from {layer.source})", where=str(key) if key else None)


CHOICES: dict[str, tuple[str, ...]] = {
    "device.target": ("auto", "cpu", "ascend"),
    "device.mode": ("graph", "pynative"),
    "device.jit_level": ("O0", "O1", "O2"),
    "device.dtype": DTYPES,
    "device.kernels": ("auto", "on", "off"),
    "train.schedule": ("constant", "linear", "cosine", "one_cycle"),
    "train.ema_rise": ("hyperbolic", "exponential", "none"),
    "sample.format": ("mp4", "gif", "png", "npy"),
}

_POSITIVE = (
    "train.max_steps train.batch_size train.accumulation train.checkpoint_every train.log_every sample.num_frames "
    "sample.height sample.width sample.fps sample.num_videos sample.batch_size sample.num_inference_steps "
    "data.num_frames data.height data.width data.frame_stride device.sequence_parallel"
).split()


def _check_choices(config: Any) -> None:
    """Reject values that no run can use: unknown words, sizes and counts below one."""
    for key, allowed in CHOICES.items():
        value = get_dotted(config, key)
        if value is not None and value not in allowed:
            raise UsageError(f"'{value}' is not one of {', '.join(allowed)}", where=key)
    for key in _POSITIVE:
        value = get_dotted(config, key)
        if value is not None and value < 1:
            raise UsageError(f"must be at least 1, not {value}", where=key)


def get_dotted(config: Any, key: str) -> Any:
    """Return the value at a dotted key of a config object, or None where there is no such key."""
    for name in key.split("."):
        config = getattr(config, name, None)
    return config
