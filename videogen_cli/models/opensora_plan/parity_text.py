"""How golden cases of the text encoder are run."""

from __future__ import annotations

from typing import Any

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import networks
from videogen_cli.metrics.parity_text import t5_outputs


def text_encoder(case: Case) -> dict[str, Any]:
    """Encode ``input_ids`` (b l)."""
    return t5_outputs(networks(case, ("text",), "t5", role="text-encoder")["text"], case)
