"""What a model is, as data: a plugin declares a :class:`ModelSpec` and shared code does the rest.

Plugins are found through the entry-point group ``vgen.models``; nothing of a plugin is imported before it is named.
Strings of the form ``"package.module:attribute"`` are imported when first needed, so that declarations never pull
in MindSpore.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from videogen_cli.config import Layer, ModelConfig, Resolved, get_dotted, load_yaml, resolve
from videogen_cli.errors import UsageError, did_you_mean

GROUP = "vgen.models"


@dataclass(frozen=True)
class ComponentSpec:
    """One network. ``build`` is called with the params found in the config section named ``name``."""

    name: str
    build: str
    help: str = ""
    samples: bool = True  # whether making videos needs it; others only convert, and serve the stages that name them
    files: tuple[str, ...] = ()  # config keys of files it needs beside its weights, such as its tokenizer's


@dataclass(frozen=True)
class StageSpec:
    """One way to train. ``trains`` and ``frozen`` name components; ``objective`` makes batches and losses.

    ``adapts`` names components that stay as they are while low-rank factors beside them train (``lora`` in the config);
    checkpoints hold the factors, as the component ``lora``. ``frozen_if`` names those needed only where a number in the
    config, its dotted key, is not 0.
    """

    name: str
    objective: str
    trains: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    help: str = ""
    adapts: tuple[str, ...] = ()
    frozen_if: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)  # nested config values this stage starts from

    def components(self, config: ModelConfig) -> tuple[str, ...]:
        """Return the names of all components that a run with ``config`` needs."""
        wanted = [name for name, key in self.frozen_if.items() if get_dotted(config, key)]
        return (*self.trains, *self.adapts, *self.frozen, *wanted)


@dataclass(frozen=True)
class InputSpec:
    """A condition that ``vgen infer --input NAME=PATH`` accepts."""

    name: str
    kind: str  # image | video | npy
    help: str = ""
    required: bool = False


@dataclass(frozen=True)
class CheckpointSpec:
    """A published container and how its keys map to components.

    ``key_map`` is a :class:`videogen_cli.weights.keymap.KeyMap` whose targets are ``<component>.<parameter>``.
    ``params`` is a function that turns the original's hyper-parameters (as in manifests and golden cases) into
    ``{component: params}``.
    """

    type: str
    components: tuple[str, ...]
    key_map: str
    params: str
    help: str = ""


@dataclass(frozen=True)
class ScorerSpec:
    """A network that scores finished videos, for ``vgen eval videos``.

    ``build(config, cells)`` is a :class:`videogen_cli.runners.video_scores.Scorer`; ``cells`` holds the ``component``.
    """

    name: str
    component: str
    build: str
    weights: str = ""  # the key of weights.* it takes, where that is not the component's own
    help: str = ""
    hint: str = ""  # how to get its weights

    @property
    def key(self) -> str:
        """Return the key of ``weights.*`` that it takes."""
        return self.weights or self.component


@dataclass(frozen=True)
class PublishedFile:
    """Weights on the Hugging Face Hub that configs name ``hub:<model>/<name>``.

    They are fetched when they are first needed; those with a ``type`` are converted then, once.
    """

    name: str
    repo: str  # owner/name
    files: tuple[str, ...]  # paths in the repository; several are converted as the folder that holds them all
    size: int  # bytes of all files, or nearly
    type: str = ""  # the checkpoint type whose key map reads them; "" = used as they are
    preset: str = ""  # whose sizes their networks have; "" = the model's defaults
    sha256: Mapping[str, str] = field(default_factory=dict)  # file -> what its bytes must have; else what the hub says
    revision: str = "main"
    help: str = ""


@dataclass(frozen=True)
class AdapterSpec:
    """Weights in a file of their own, ``weights.<name>``, that change those of a component as it is loaded.

    ``merge`` is called whenever the component is loaded, with the file or without, so it can refuse what needs one:
    ``merge(tensors, files, cell, config, merged, say)`` returns the tensors (by parameter name) to load. ``files`` are
    the given ones of the adapter and of ``beside``, by name; ``merged`` is False in training, where the adapter stays
    apart and only what the component itself lacks is added; ``say`` takes a line for people.
    """

    name: str
    component: str
    merge: str
    help: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)  # further files it takes, also of weights.*: name -> help

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the names of all files it takes, its own first."""
        return (self.name, *self.beside)


@dataclass(frozen=True)
class ModelSpec:
    """Everything vgen knows about a system."""

    name: str
    title: str
    summary: str
    config: type[ModelConfig]
    components: tuple[ComponentSpec, ...]
    pipeline: str = ""  # without one a model cannot be sampled
    stages: tuple[StageSpec, ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    checkpoints: tuple[CheckpointSpec, ...] = ()
    adapters: tuple[AdapterSpec, ...] = ()
    scorers: tuple[ScorerSpec, ...] = ()
    published: tuple[PublishedFile, ...] = ()
    parity: Mapping[str, str] = field(default_factory=dict)  # golden-case component -> function(case) -> outputs
    device: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # target -> device settings
    presets_dir: Path | None = None
    default_preset: str = "tiny"
    source: str = ""  # paper and upstream repository

    @property
    def sampling_components(self) -> tuple[str, ...]:
        """Return the names of the components that make videos."""
        return tuple(component.name for component in self.components if component.samples)

    @property
    def weight_names(self) -> list[str]:
        """Return what ``weights.*`` may name: components, adapters, what adapters take beside them, and scorers."""
        names = [*(component.name for component in self.components), *(n for a in self.adapters for n in a.parts)]
        return [*names, *(scorer.key for scorer in self.scorers if scorer.key not in names)]

    def component(self, name: str) -> ComponentSpec:
        """Return the component called ``name``."""
        return _named(name, {c.name: c for c in self.components}, "component", self.name)

    def stage(self, name: str) -> StageSpec:
        """Return the stage called ``name``."""
        return _named(name, {s.name: s for s in self.stages}, "stage", self.name)

    def presets(self) -> dict[str, Path]:
        """Return the presets by name, in alphabetical order."""
        folder = self.presets_dir or configs_dir() / self.name
        return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _named(name: str, table: Mapping[str, Any], kind: str, model: str) -> Any:
    if name not in table:
        raise UsageError(f"{model} has no {kind} '{name}'", hint=did_you_mean(name, table))
    return table[name]


def configs_dir() -> Path:
    """Return the folder of presets: inside an installed package, or at the root of a checkout."""
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def load_attr(reference: str) -> Any:
    """Import ``"package.module:attribute"`` and return the attribute."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def _entry_points() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def model_names() -> list[str]:
    """List the models that can be named on the command line."""
    return list(_entry_points())


@cache
def spec(name: str) -> ModelSpec:
    """Return the declaration of the model called ``name``.

    Raises:
        UsageError: there is no such model; the hint names the nearest ones.
    """
    points = _entry_points()
    if name not in points:
        raise UsageError(f"there is no model '{name}'", hint=did_you_mean(name, points))
    return points[name].load()


def layers_for(
    model: ModelSpec,
    *,
    preset: str | None,
    stage: str | None = None,
    target: str = "cpu",
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[Layer]:
    """Collect the layers of a run's config, lowest first (see the module ``config``)."""
    layers: list[Layer] = []
    if profile := model.device.get(target):
        layers.append(Layer(f"{model.name} on {target}", {"device": profile}))
    if stage:
        layers.append(Layer(f"stage {stage}", model.stage(stage).defaults))
    if preset:
        layers += _preset_layers(model, preset, stage)
    if file:
        layers.append(Layer(str(file), load_yaml(file)))
    if overrides:
        layers.append(Layer("command line", overrides))
    if options:
        layers.append(Layer("options", options))
    return layers


def _preset_layers(model: ModelSpec, name: str, stage: str | None) -> list[Layer]:
    """Return a preset's layers: those it ``extends`` first, and what belongs to the stage after the rest.

    Raises:
        UsageError: there is no such preset, or presets extend each other.
    """
    general: list[Layer] = []
    staged: list[Layer] = []
    seen: list[str] = []
    following: str | None = name
    while following:
        if following in seen:
            raise UsageError("extends itself", where=f"preset {' > '.join([*seen, following])}")
        seen.append(following)
        values = load_yaml(_named(following, model.presets(), "preset", model.name))
        values.pop("description", None)
        stages, extended = values.pop("stages", None) or {}, values.pop("extends", None)
        general.insert(0, Layer(f"preset {following}", values))
        if stage and stages.get(stage):
            staged.insert(0, Layer(f"preset {following}, stage {stage}", stages[stage]))
        following = extended
    return general + staged


def resolve_config(model: ModelSpec, *, target: str | None = None, **choice: Any) -> Resolved:
    """Resolve a run's config; ``choice`` is what :func:`layers_for` takes.

    The target decides which device profile applies, and the config may name the target, so a config that names
    another one than expected is resolved a second time with that one's profile.
    """
    from videogen_cli.runtime.target import detect_target

    guess = target or detect_target()
    resolved = resolve(model.config, layers_for(model, target=guess, **choice))
    wanted = resolved.config.device.target
    if wanted not in ("auto", guess):
        resolved = resolve(model.config, layers_for(model, target=wanted, **choice))
        guess = wanted
    resolved.config.device.target = guess
    return resolved
