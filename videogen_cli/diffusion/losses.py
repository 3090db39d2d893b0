"""Element-wise losses, averaged; arithmetic only, so for numpy arrays and device tensors alike."""

from __future__ import annotations

from typing import Any


def mse(prediction: Any, target: Any) -> Any:
    """Return the mean squared difference."""
    error = prediction - target
    return (error * error).mean()


def huber(prediction: Any, target: Any, c: float = 0.001) -> Any:
    """Return the mean of ``sqrt(error^2 + c^2) - c`` (pseudo-Huber, Song & Dhariwal 2023, section 3.3)."""
    error = prediction - target
    return ((error * error + c * c) ** 0.5 - c).mean()
