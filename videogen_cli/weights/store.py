"""Where weights are, and one component's share of a file that may hold several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from videogen_cli.errors import WeightsError, did_you_mean
from videogen_cli.weights.names import plain
from videogen_cli.weights.published import is_published, locate_published
from videogen_cli.weights.readers import open_checkpoint
from videogen_cli.weights.tensor import LazyTensor

ASSET = "asset:"


def assets_dir() -> Path:
    """Return the folder of files that ship with vgen."""
    return Path(__file__).parent.parent / "assets"


def locate(uri: str) -> Path:
    """Return the path that ``uri`` means: ``asset:NAME`` ships with vgen, ``hub:MODEL/NAME`` was fetched, or a path.

    Raises:
        WeightsError: nothing is there.
    """
    if is_published(uri):
        return locate_published(uri)
    if not uri.startswith(ASSET):
        path = Path(uri).expanduser()
        if not path.exists() and not path.with_name(f"{path.name}.index.json").exists():
            siblings = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
            raise WeightsError(
                "there is no such file", where=plain(uri), hint=did_you_mean(path.name, siblings) or None
            )
        return path
    folder, name = assets_dir(), uri.removeprefix(ASSET)
    path = folder / name
    if not path.exists() or not path.resolve().is_relative_to(folder.resolve()):
        known = [str(item.relative_to(folder)) for item in folder.rglob("*") if item.is_file() and item.suffix != ".py"]
        raise WeightsError("vgen does not ship this file", where=plain(uri), hint=did_you_mean(name, known) or None)
    return path


def open_component(path: Path | str, name: str, components: Iterable[str]) -> dict[str, LazyTensor]:
    """Return the weights of component ``name`` in a file, under the network's own names.

    A file converted from a container of several networks names its tensors ``<component>.<parameter>``; a file of
    one network does not have the prefix.

    Args:
        path: the file.
        name: the component wanted.
        components: all components of the model, to tell the two kinds apart.

    Raises:
        WeightsError: the file cannot be read, or holds other components only.
    """
    checkpoint = open_checkpoint(path)
    tensors = dict(checkpoint.tensors)
    listed = checkpoint.metadata.get("component")
    present = set(listed.split(",")) if listed else {key.partition(".")[0] for key in tensors}
    prefixed = all(key.partition(".")[0] in present & set(components) for key in tensors)
    if not prefixed and (listed is None or name in present):
        return tensors
    if name not in present:
        hint = f"It holds: {', '.join(sorted(present))}."
        raise WeightsError(f"has no weights of the component '{name}'", where=plain(path), hint=hint)
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
