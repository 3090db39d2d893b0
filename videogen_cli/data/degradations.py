"""What generated videos get wrong, done to true ones: clips of which a scorer learns to think less.

Frames are float32 (f 3 h w) in [0, 1]. ``strength`` is from 0, nothing, to 1, about as bad as it gets. Motion is that
of the centroid of brightness, so its changes make sense where one bright thing moves on black.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HELD = 0.5  # strength up to which a caption still holds


@dataclass(frozen=True)
class Degraded:
    """Frames (f 3 h w), whether the caption can still be told from them, and how noisy their codes shall be."""

    frames: np.ndarray
    recognisable: bool
    code_noise: float = 0.0  # standard deviations


def blur(frames: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by a Gaussian of ``sigma`` pixels; the borders are black beyond."""
    if sigma < 0.05:
        return frames
    rows, columns = (_gaussian(side, sigma) for side in frames.shape[-2:])
    return rows @ frames @ columns.T


def _gaussian(side: int, sigma: float) -> np.ndarray:
    taps = np.arange(side, dtype=np.float32)
    kernel = np.exp(-0.5 * ((taps - taps[:, None]) / np.float32(sigma)) ** 2)
    inner = np.exp(-0.5 * (np.arange(-side, side + 1, dtype=np.float32) / np.float32(sigma)) ** 2).sum()
    return kernel / inner


def round_corners(frames: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Blur, and sharpen the edges that are left."""
    return np.clip(4 * blur(frames, 6 * strength) - 1.5, 0, 1)


def smear(frames: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Blur."""
    return blur(frames, 4 * strength)


def recolour(frames: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Mix the channels at random, and darken them."""
    mixing = draws.random((3, 3), np.float32) * (1 - np.eye(3, dtype=np.float32)) * (draws.random() < 0.7)
    matrix = np.diag(1 - strength * draws.random(3, np.float32) * 0.8) + np.float32(strength) * mixing
    return np.clip(np.einsum("dc,fchw->fdhw", matrix.astype(np.float32), frames), 0, 1)


def add_noise(frames: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Add noise, which is coarse or fine, and the same in all frames or not."""
    count = len(frames) if draws.random() < 0.5 else 1
    noise = draws.standard_normal((count, *frames.shape[1:]), np.float32)
    sigma = draws.uniform(0, 3)
    noise = blur(noise, sigma) * max(1.0, 2 * np.sqrt(np.pi) * sigma)  # of the same variance
    return np.clip(frames + 0.4 * strength * noise, 0, 1)


def bend(frames: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Turn, stretch and slant by one linear map about the centroid of each frame."""
    angle = draws.uniform(-1, 1) * strength * np.pi / 4 * (draws.random() < 0.5)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _mapped(frames, turn @ (np.eye(2) + 0.5 * strength * draws.uniform(-1, 1, (2, 2))))


def _mapped(frames: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Look up every pixel at ``matrix`` (2 2, rows y, x) times its offset from the centroid, bilinearly."""
    height, width = frames.shape[-2:]
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"))
    padded = np.pad(frames, ((0, 0), (0, 0), (1, 1), (1, 1)))
    results = []
    for frame, centre in zip(padded, centroids(frames).reshape(-1, 2, 1, 1), strict=True):
        y, x = np.einsum("ij,jhw->ihw", matrix, grid - centre) + centre + 1
        y, x = np.clip(y, 0, height + 0.999), np.clip(x, 0, width + 0.999)
        top, left = y.astype(int), x.astype(int)
        down, right = (y - top).astype(np.float32), (x - left).astype(np.float32)
        upper = frame[:, top, left] * (1 - right) + frame[:, top, left + 1] * right
        lower = frame[:, top + 1, left] * (1 - right) + frame[:, top + 1, left + 1] * right
        results.append(upper * (1 - down) + lower * down)
    return np.stack(results)


def fade(frames: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Darken patches."""
    patches = blur(draws.standard_normal((1, 1, *frames.shape[-2:]), np.float32), 3.0)
    patches = 1 / (1 + np.exp(-4 * patches / patches.std()))
    return frames * (1 - np.float32(strength) * patches)


LOOKS: tuple[Callable[[np.ndarray, float, np.random.Generator], np.ndarray], ...] = (
    round_corners,
    smear,
    recolour,
    add_noise,
    bend,
    fade,
)


def degrade_look(frames: np.ndarray, other: np.ndarray, draws: np.random.Generator, codes: bool) -> Degraded:
    """Spoil what frames look like, all alike, in one way or two; ``other`` (f 3 h w) may shine through.

    ``codes`` says whether the frames will go through an autoencoder, whose codes may then be noisy.
    """
    kind, strength = int(draws.integers(len(LOOKS) + (3 if codes else 1))), draws.uniform(0.15, 1)
    if kind == len(LOOKS):
        return Degraded(np.maximum(frames, np.float32(strength) * other), recognisable=False)
    if kind > len(LOOKS):
        return Degraded(frames, strength < HELD, code_noise=1.5 * strength)
    frames = LOOKS[kind](frames, strength, draws)
    if draws.random() < 0.25:
        frames = LOOKS[int(draws.integers(len(LOOKS)))](frames, draws.uniform(0.1, 0.5), draws)
    return Degraded(frames.astype(np.float32), strength < HELD)


def degrade_motion(frames: np.ndarray, other: np.ndarray, draws: np.random.Generator, codes: bool) -> Degraded:
    """Spoil how things move: too little, backwards, aslant, in jumps, or from some frame on what ``other`` shows."""
    kind, centres = draws.integers(5), centroids(frames)
    way = centres[-1] - centres[0]
    path = centres.copy()
    share = np.linspace(0, 1, len(frames))[:, None]
    if kind == 0:  # stops on the way, or turns back
        stop = draws.uniform(0, 0.6)
        path = centres[0] + way * np.minimum(share, stop if draws.random() < 0.5 else 2 * stop - share)
    elif kind == 1:  # slow, still, or backwards from where it should arrive
        speed = draws.uniform(-1, 0.5)
        path = centres[0] + way * (share * speed + max(-speed, 0))
    elif kind == 2:  # aslant
        aside = np.array([-way[1], way[0]]) * draws.choice([-1, 1]) * draws.uniform(0.3, 1.2)
        path = centres + (share - draws.uniform()) * aside
    elif kind == 3:  # trembles, or jumps
        reach = draws.uniform(2, 8)
        path = centres + draws.uniform(-reach, reach, centres.shape) * (draws.random(centres[:, :1].shape) < 0.6)
    else:
        cut = int(draws.integers(1, len(frames)))
        return Degraded(np.concatenate([frames[:cut], other[cut:]]), recognisable=False)
    return Degraded(shift(frames, path - centres), recognisable=False)


def degrade_some(frames: np.ndarray, other: np.ndarray, draws: np.random.Generator, codes: bool) -> Degraded:
    """Spoil the look of some frames in a row."""
    spoiled = degrade_look(frames, other, draws, codes)
    first, last = sorted(draws.choice(len(frames) + 1, 2, replace=False))
    mixed = frames.copy()
    mixed[first:last] = spoiled.frames[first:last]
    return Degraded(mixed, spoiled.recognisable, spoiled.code_noise)


def vary(frames: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """Change frames as little as that a caption and a good opinion must stay: where they are, how fast, how sharp."""
    centres = centroids(frames)
    if len(frames) > 1 and draws.random() < 0.5:
        speed = draws.uniform(0.85, 1)
        centres_now = centres.mean(0) + speed * (centres - centres.mean(0))
    else:
        centres_now = centres
    moved = shift(frames, centres_now - centres + draws.integers(-6, 7, 2))
    return blur(moved, draws.uniform(0, 0.6)) if draws.random() < 0.5 else moved


def centroids(frames: np.ndarray) -> np.ndarray:
    """Return the centre of brightness (f, 2) of each frame as (y, x); the middle of one that is black."""
    mass = frames.max(1) + 1e-8
    total = mass.sum((1, 2))
    height, width = mass.shape[1:]
    return np.stack([mass.sum(2) @ np.arange(height) / total, mass.sum(1) @ np.arange(width) / total], 1)


def shift(frames: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Move each frame by whole pixels, ``offsets`` (f, 2) as (y, x), no further than its bright part stays inside."""
    result = np.zeros_like(frames)
    for frame, offset, target in zip(frames, offsets, result, strict=True):
        moves = []
        for axis, by in zip((1, 0), np.rint(offset).astype(int), strict=True):
            lit = np.flatnonzero((frame.max(0) > 0.1).any(axis))
            low, high = (lit[0], lit[-1]) if len(lit) else (0, frame.shape[2 - axis] - 1)
            moves.append(int(np.clip(by, -low, frame.shape[2 - axis] - 1 - high)))
        target[:] = np.roll(frame, moves, (1, 2))
    return result
