"""Text encoders of golden cases that several systems share."""

from __future__ import annotations

from typing import Any

import numpy as np

from videogen_cli.metrics.parity import Case
from videogen_cli.metrics.parity_networks import call, tensor


def t5_outputs(cell: Any, case: Case) -> dict[str, np.ndarray]:
    """Run a T5 encoder on ``input_ids`` (b l) with and without ``attention_mask`` (b l).

    The systems' cases call the states after the first block, and the position biases of the first and last query
    (heads 1 l), by names of their own; all are given.
    """
    ids, keep = case.inputs["input_ids"], case.inputs.get("attention_mask")
    first = cell.states(tensor(ids), 1, tensor(keep)).asnumpy()
    bias = cell.position_bias(ids.shape[1]).asnumpy()[0]
    return {
        "last_hidden_state": call(cell, ids, keep),
        "last_hidden_state_nomask": call(cell, ids),
        "hidden_first_block": first,
        "hidden_after_block0": first,
        "position_bias": bias[:, :1],
        "position_bias_lastrow": bias[:, -1:],
    }
