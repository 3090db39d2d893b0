"""BERT as a text encoder (Devlin et al. 2018, arXiv 1810.04805), named as in transformers' ``BertModel``.

One name differs: what the original calls ``attention.self.query`` is ``attention.query`` here.
"""

from __future__ import annotations

from typing import Any

from videogen_cli.nets.layers import Embedding, LayerNorm, Linear
from videogen_cli.nets.params.bert import BertParams
from videogen_cli.runtime import functional as F
from videogen_cli.runtime.cells import Cell, CellList

MASKED = -10000.0  # added to the scores of padding, as the original does


class Bert(Cell):
    """Token ids to hidden states; without the pooler.

    Raises:
        UsageError: the params describe no network (see their ``check``).
    """

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        params.check()
        self.embeddings = BertEmbeddings(params)
        self.encoder = BertEncoder(params)

    def construct(self, ids: Any, keep: Any) -> Any:
        """Map token ids (b l) to states (b l width); ``keep`` (b l) is 1 for tokens and 0 for padding."""
        x = self.embeddings(ids)
        mask = ((1.0 - keep.astype(x.dtype)) * MASKED).reshape(keep.shape[0], 1, 1, keep.shape[1])
        return self.encoder(x, mask)


class BertEmbeddings(Cell):
    """What a token is, where it stands, and that it belongs to the first (and only) segment."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.word_embeddings = Embedding(params.vocab_size, params.width, scale=0.02)
        self.position_embeddings = Embedding(params.max_positions, params.width, scale=0.02)
        self.token_type_embeddings = Embedding(params.token_types, params.width, scale=0.02)
        self.LayerNorm = LayerNorm(params.width, params.norm_eps)

    def construct(self, ids: Any) -> Any:
        """Map (b l) to (b l width)."""
        places = self.position_embeddings.weight[: ids.shape[1]] + self.token_type_embeddings.weight[0]
        return self.LayerNorm(self.word_embeddings(ids) + places)


class BertEncoder(Cell):
    """Holds the layers under their published name."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.layer = CellList([BertLayer(params) for _ in range(params.layers)])

    def construct(self, x: Any, mask: Any) -> Any:
        """Map (b l width) to itself through all layers."""
        for layer in self.layer:
            x = layer(x, mask)
        return x


class BertLayer(Cell):
    """Attention and a feed-forward part, each normalised after its residual."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.by_tanh = params.activation == "gelu_new"
        self.attention = BertAttention(params)
        self.intermediate = Dense(params.width, params.inner_width)
        self.output = AddedDense(params.inner_width, params.width, params.norm_eps)

    def construct(self, x: Any, mask: Any) -> Any:
        """Map (b l width) to itself."""
        x = self.attention(x, mask)
        inner = self.intermediate(x)
        return self.output(F.gelu_tanh(inner) if self.by_tanh else F.gelu(inner), x)


class BertAttention(Cell):
    """Self-attention with its residual and norm."""

    def __init__(self, params: BertParams) -> None:
        super().__init__()
        self.heads = params.heads
        self.query = Linear(params.width, params.width)
        self.key = Linear(params.width, params.width)
        self.value = Linear(params.width, params.width)
        self.output = AddedDense(params.width, params.width, params.norm_eps)

    def construct(self, x: Any, mask: Any) -> Any:
        """Map (b l width) to itself; ``mask`` (b 1 1 l) is added to the scores."""
        return self.output(F.attention(self.query(x), self.key(x), self.value(x), self.heads, mask), x)


class Dense(Cell):
    """A linear layer under its published name."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.dense = Linear(in_features, out_features)

    def construct(self, x: Any) -> Any:
        """Map (... in_features) to (... out_features)."""
        return self.dense(x)


class AddedDense(Cell):
    """A linear layer whose result is added to a residual, then normalised."""

    def __init__(self, in_features: int, out_features: int, eps: float) -> None:
        super().__init__()
        self.dense = Linear(in_features, out_features)
        self.LayerNorm = LayerNorm(out_features, eps)

    def construct(self, x: Any, residual: Any) -> Any:
        """Map (... in_features) and (... out_features) to (... out_features)."""
        return self.LayerNorm(self.dense(x) + residual)
