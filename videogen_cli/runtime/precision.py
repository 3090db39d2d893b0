"""Which dtype networks compute in, given what was asked for and the target."""

from __future__ import annotations

from videogen_cli.errors import UsageError, did_you_mean

BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


def compute_dtype(target: str, requested: str) -> str:
    """Return the dtype that runs on ``target``: always fp32 on CPU, what was requested on Ascend.

    MindSpore's CPU kernels have no bfloat16 matmul, convolution or softmax, and its float16 ones are slower than
    float32, so smaller types are for storage only there and weights are up-cast when they are loaded.

    Raises:
        UsageError: ``requested`` is not a known dtype.
    """
    if requested not in BYTES:
        raise UsageError(f"'{requested}' is not a dtype", where="device.dtype", hint=did_you_mean(requested, BYTES))
    return "fp32" if target == "cpu" else requested


def precision_note(target: str, requested: str) -> str | None:
    """Say in one sentence when the computation runs in another dtype than requested, else None."""
    runs = compute_dtype(target, requested)
    if runs == requested:
        return None
    return f"{requested} weights are up-cast: the CPU computes in {runs}"
