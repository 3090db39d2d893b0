"""Folders that VBench reads (Huang et al. 2024; Vchitect/VBench, vbench/__init__.py ``build_full_info_json``).

Its standard mode looks for ``<prompt>-<k>.mp4``, k from 0 to 4, and takes the suffix of the first name it finds, so
nothing but videos may be in the folder. Its mode ``custom_input`` reads prompts from such names too, or from a JSON
file ``{name: prompt}`` that must then list every video.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from videogen_cli.data.generated import Candidate, read_candidate
from videogen_cli.data.video import write_video
from videogen_cli.errors import UsageError
from videogen_cli.files import atomic_dir, disk_errors, write_json

NAME_BYTES = 255  # of a file's name, on every common file system
DEFAULT_FPS = 8.0  # of videos whose files do not tell


def require_new(target: Path) -> None:
    """Refuse a folder that has something in it.

    Raises:
        UsageError: there is a file at ``target``, or a folder that is not empty.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise UsageError("is there already", where=str(target), hint="Name a folder that is new or empty.")


def export(videos: Sequence[Candidate], target: Path, timeout: float = 30.0) -> Path | None:
    """Write ``videos`` as VBench expects them into the new folder ``target``, all of it or nothing.

    mp4 files are copied as they are, others encoded. Where any prompt is no file name, those videos get other names and
    ``<target>.prompts.json``, for ``--prompt_file``, says what all of them were made from.

    Returns:
        That file, where it was needed.

    Raises:
        UsageError: see :func:`require_new`.
        DataError: a video cannot be read.
        DiskError: something cannot be written.
    """
    require_new(target)
    names = file_names([video.prompt for video in videos])
    with atomic_dir(target) as folder:
        for video, name in zip(videos, names, strict=True):
            if video.file.suffix == ".mp4":
                with disk_errors(folder / name):
                    shutil.copyfile(video.file, folder / name)
                continue
            clip = read_candidate(video, timeout)
            encoded = write_video(folder / "next.mp4", clip.frames, clip.fps or DEFAULT_FPS)  # a name that is short
            os.replace(encoded, folder / name)
    if all(fits(video.prompt) for video in videos):
        return None
    listing = target.with_name(f"{target.name}.prompts.json")
    write_json(listing, {name: video.prompt for name, video in zip(names, videos, strict=True)})
    return listing


def file_names(prompts: Sequence[str]) -> list[str]:
    """Return ``<prompt>-<k>.mp4`` for each prompt, k counting how often it came before, no two of them alike.

    For a prompt that cannot be part of a file's name its number among the different prompts stands in.
    """
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    taken = {prompt for prompt in numbers if fits(prompt)}
    count: Counter[str] = Counter()
    names = []
    for prompt in prompts:
        stem = prompt
        if not fits(prompt):
            stem = f"prompt {numbers[prompt]}"
            while stem in taken:
                stem = f"_{stem}"
        names.append(f"{stem}-{count[prompt]}.mp4")
        count[prompt] += 1
    return names


def fits(prompt: str) -> bool:
    """Return whether a prompt can be part of a file's name, from which VBench then reads it unchanged."""
    short = len(f"{prompt}-0000.mp4".encode()) <= NAME_BYTES
    return bool(prompt) and short and "/" not in prompt and prompt.isprintable()
