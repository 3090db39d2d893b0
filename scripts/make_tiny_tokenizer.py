"""Make the tokenizers of the tiny presets: the words of Moving Shapes captions, and a spelling for everything else.

``tokenizer.json``, of CLIP's kind: 256 byte symbols in CLIP's order (so 0, the padding, is "!"), the words in
alphabetical order, start of text, end of text. Words carry the space before them, so that any text keeps its word
boundaries. ``wordpiece.json``, of BERT's kind: its special tokens, ASCII's characters, alone and within a word, and the
words. Both are the same files on every machine: ``python scripts/make_tiny_tokenizer.py [FOLDER]``.
"""

from __future__ import annotations

import string
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

from videogen_cli.data.moving_shapes import ALL, PARAPHRASES, prompt
from videogen_cli.data.tokenizers import END, START, WORDS, byte_symbols
from videogen_cli.data.wordpiece import SPECIAL, uncased
from videogen_cli.files import write_text

TARGET = Path(__file__).parents[1] / "videogen_cli/assets/t2v-turbo/tiny"
SPACE = "Ġ"  # the symbol of the byte 0x20


def words() -> list[str]:
    captions = (prompt(combination, number) for combination in ALL for number in range(len(PARAPHRASES)))
    return sorted({word for caption in captions for word in caption.lower().split()})


def build() -> Tokenizer:
    tokens = [*byte_symbols(), *(SPACE + word for word in words())]
    # No merges: a word is either in the vocabulary as a whole, or spelled in bytes.
    model = BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=[], ignore_merges=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = Sequence(
        [Split(Regex(WORDS), "removed", invert=True), ByteLevel(add_prefix_space=True, use_regex=False)]
    )
    tokenizer.add_special_tokens([AddedToken(START), AddedToken(END)])
    return tokenizer


def build_wordpiece() -> Tokenizer:
    letters = string.ascii_lowercase + string.digits
    tokens = [*SPECIAL, *string.punctuation, *letters, *(f"##{letter}" for letter in letters)]
    return uncased([*tokens, *(word for word in words() if word not in tokens)])


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    for name, tokenizer in (("tokenizer.json", build()), ("wordpiece.json", build_wordpiece())):
        write_text(folder / name, tokenizer.to_str(pretty=True) + "\n")
        print(f"{folder / name}: {tokenizer.get_vocab_size()} ids")
