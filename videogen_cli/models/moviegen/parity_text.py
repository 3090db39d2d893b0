"""How golden cases of the text encoders and their tokenizers are run."""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.data.t5_tokenizers import ByteTokenizer, PieceTokenizer
from videogen_cli.errors import DataError, did_you_mean
from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, networks
from videogen_cli.metrics.parity_text import t5_outputs
from videogen_cli.originals import only_ours

_T5 = ("ul2", "byt5")
_LEGACY_END = 2  # an eos_token_id that early configs had whatever the vocabulary; transformers then takes the largest
_ENCODERS = (*_T5, "metaclip")


def text_encoder(case: Case) -> dict[str, Any]:
    """Encode ``input_ids`` (b l) with the encoder that the case's checkpoint type names.

    Raises:
        DataError: there is no such encoder.
    """
    kind = _kind(case, _ENCODERS)
    cell = networks(case, (kind,), kind, role="text-encoder")[kind]
    return t5_outputs(cell, case) if kind in _T5 else _clip_outputs(cell, case)


def tokenizer(case: Case) -> dict[str, Any]:
    """Encode the config's ``texts`` into rows of ``max_length`` ids.

    Raises:
        DataError: there is no such tokenizer, or it numbers its special tokens otherwise.
    """
    config, length = case.config, case.config["max_length"]
    made = ByteTokenizer(length) if _kind(case, _T5) == "byt5" else PieceTokenizer(case.weights()[0], length)
    ours = {"pad_id": made.pad, "eos_id": made.end, "unk_id": made.unknown}
    if isinstance(made, ByteTokenizer):
        ours["byte_offset"] = made.offset
    only_ours(config, ours)
    ids, mask = made.encode(config["texts"])
    return {"input_ids": ids, "attention_mask": mask}


def _clip_outputs(cell: Any, case: Case) -> dict[str, Any]:
    ids, keep = case.inputs["input_ids"], case.inputs.get("attention_mask")
    text = case.config.get("text_config", case.config)
    states = call(cell, ids, keep)
    pooled = states[np.arange(len(ids)), _ends(ids, text.get("eos_token_id", 49407))]
    projected = call(cell.project, pooled) if "projected" in case.outputs else None
    return {
        "last_hidden_state": states,
        "last_hidden_state_nomask": call(cell, ids),
        "pooled": pooled,
        "projected": projected,
    }


def _ends(ids: np.ndarray, end: int) -> np.ndarray:
    """Return where each text (b l) has its first end token; the largest id where the config's is the old default."""
    return ids.argmax(1) if end == _LEGACY_END else (ids == end).argmax(1)


def _kind(case: Case, known: tuple[str, ...]) -> str:
    kind = case.record["checkpoint_type"]
    if kind not in known:
        raise DataError(
            f"'{kind}' is not one of {', '.join(known)}", where="checkpoint_type", hint=did_you_mean(str(kind), known)
        )
    return kind
