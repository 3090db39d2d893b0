"""Sizes of PiDiNet's edge detector."""

from __future__ import annotations

from dataclasses import dataclass

from videogen_cli.nets.params.checks import not_negative, one_of, positive

# Every configuration upstream has: the operator of each of the 16 layers, by the first letter of what is compared:
# c = centre with neighbours, a = neighbours along the angle, r = along the radius, v = nothing (a plain convolution).
OPERATORS = {
    "baseline": "v" * 16,
    **{f"{letter}-v15": letter + "v" * 15 for letter in "car"},
    **{f"{word}4": word * 4 for word in ("cvvv", "avvv", "rvvv", "cccv", "aaav", "rrrv", "carv")},
    **{f"{letter}16": letter * 16 for letter in "car"},
}


@dataclass
class PiDiNetParams:
    """A pixel-difference network; defaults are ``table5_pidinet.pth``'s."""

    channels: int = 60  # of the first of four stages; the others have 2, 4 and 4 times as many
    dilation_channels: int = 24  # of the dilated convolutions that read each stage; 0 = there are none
    attention: bool = True  # over space, on what is read from each stage
    operators: str = "carv4"
    converted: bool = False  # kernels are those of plain convolutions already, 5x5 where they compare along the radius

    def check(self) -> None:
        """Check that a network of these sizes exists.

        Raises:
            UsageError: a size is not positive, or there is no such list of operators.
        """
        positive("pidinet", self, "channels")
        not_negative("pidinet", self, "dilation_channels")
        one_of("pidinet", self, tuple(OPERATORS), "operators")
