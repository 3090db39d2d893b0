"""Checkpoints of every published container: safe lazy readers, key maps, streaming writers."""

from videogen_cli.weights.checkpoint import Checkpoint
from videogen_cli.weights.readers import open_checkpoint, open_manifest
from videogen_cli.weights.tensor import LazyTensor

__all__ = ["Checkpoint", "LazyTensor", "open_checkpoint", "open_manifest"]
