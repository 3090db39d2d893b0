"""Time single operators against PyTorch: ``python benchmarks/ops.py [--only attention] [--repeats 7]``."""

from __future__ import annotations

from cases import FORWARD, PEAK, TRAIN, Operation

# Name -> (function of measured_cells, shapes of its inputs). Sizes are those that the UNets and autoencoders have.
_CONVOLUTIONS = {
    "3x3 2x320x40x64": ("conv2d", (2, 320, 40, 64), (320, 320, 3, 3)),
    "3x3 4x640x20x32": ("conv2d", (4, 640, 20, 32), (640, 640, 3, 3)),
    "3x3 8x1280x10x16": ("conv2d", (8, 1280, 10, 16), (1280, 1280, 3, 3)),
    "3x3 8x320x16x16": ("conv2d", (8, 320, 16, 16), (320, 320, 3, 3)),
    "3x3 8x640x8x8": ("conv2d", (8, 640, 8, 8), (640, 640, 3, 3)),
    "3x3 8x1280x4x4": ("conv2d", (8, 1280, 4, 4), (1280, 1280, 3, 3)),
    "3x3 8x1280x2x2": ("conv2d", (8, 1280, 2, 2), (1280, 1280, 3, 3)),
    "3x3 1x128x128x128": ("conv2d", (1, 128, 128, 128), (128, 128, 3, 3)),
    "3x3 stride 2 2x320x40x64": ("conv2d_stride2", (2, 320, 40, 64), (320, 320, 3, 3)),
    "1x1 8x1920x8x8 to 640": ("conv2d", (8, 1920, 8, 8), (640, 1920, 1, 1)),
    "3x3x3 1x128x4x64x64": ("conv3d", (1, 128, 4, 64, 64), (128, 128, 3, 3, 3)),
    "3x3x3 causal 1x128x5x64x64": ("conv3d_causal", (1, 128, 5, 64, 64), (128, 128, 3, 3, 3)),
    "3x1x1 1x320x8x20x32": ("conv3d_frames", (1, 320, 8, 20, 32), (320, 320, 3, 1, 1)),
    "3x1x1 1x1280x8x10x16": ("conv3d_frames", (1, 1280, 8, 10, 16), (1280, 1280, 3, 1, 1)),
    "3x1x1 1x1280x8x4x4": ("conv3d_frames", (1, 1280, 8, 4, 4), (1280, 1280, 3, 1, 1)),
    "3x3 16x40x8x8": ("conv2d", (128, 40, 8, 8), (40, 40, 3, 3)),
}
# rows, features of input and output
_LINEARS = [
    (5120, 320, 2560),
    (1280, 1280, 10240),
    (128, 1280, 10240),
    (616, 1024, 1280),
    (32, 1280, 1280),
    (1, 1280, 1280),
    (2048, 320, 320),
    (1280, 1152, 4608),
    (8192, 40, 320),
]
# name -> function, shapes of q, k and v
_ATTENTIONS = {
    "long 4x2560, 5 heads": ("attention", (4, 2560, 320), (4, 2560, 320)),
    "long 8x256, 5 heads": ("attention", (8, 256, 320), (8, 256, 320)),
    "cross 4x2560 to 77, 5 heads": ("attention", (4, 2560, 320), (4, 77, 320)),
    "frames 640x16, 5 heads": ("attention", (640, 16, 320), (640, 16, 320)),
    "frames 256x8, 5 heads": ("attention", (256, 8, 320), (256, 8, 320)),
    "one head 2x1024, 512 wide": ("attention_one_head", (2, 1024, 512), (2, 1024, 512)),
}
_OTHERS = {
    "group_norm 2x320x40x64": ("group_norm", (2, 320, 40, 64), (320,), (320,)),
    "group_norm+silu 2x320x40x64": ("group_norm_silu", (2, 320, 40, 64), (320,), (320,)),
    "group_norm+silu 1x320x8x20x32": ("group_norm_silu", (1, 320, 8, 20, 32), (320,), (320,)),
    "group_norm+silu 8x1280x4x4": ("group_norm_silu", (8, 1280, 4, 4), (1280,), (1280,)),
    "layer_norm 10240x320": ("layer_norm", (10240, 320), (320,), (320,)),
    "rms_norm 10240x320": ("rms_norm", (10240, 320), (320,)),
    "layer_norm, modulated 1x1280x1152": (
        "layer_norm_modulated",
        (1, 1280, 1152),
        *((1152,),) * 2,
        *((1, 1, 1152),) * 2,
    ),
    "rms_norm, modulated 1x1792x1536": ("rms_norm_modulated", (1, 1792, 1536), (1536,), *((1, 1, 1536),) * 2),
    "gated_add 1x1280x1152": ("gated_add", (1, 1280, 1152), (1, 1, 1152), (1, 1280, 1152)),
    "gelu 4096x1280": ("gelu", (4096, 1280)),
    "gelu_tanh 4096x1280": ("gelu_tanh", (4096, 1280)),
    "geglu 4096x2560": ("geglu", (4096, 2560)),
    "swiglu 1792x4096": ("swiglu", (1792, 4096), (1792, 4096)),
    "silu 4096x1280": ("silu", (4096, 1280)),
    "permute to channels last 8x320x20x32": ("to_channels_last", (8, 320, 20, 32)),
    "permute frames 1x320x8x20x32": ("to_frames_last", (1, 320, 8, 20, 32)),
    "shift_channels 8x320x20x32": ("shift_channels", (8, 320, 20, 32), (1, 320)),
    "upsample 8x320x20x32": ("upsample", (8, 320, 20, 32)),
}
_ADAMW = ((1280, 1280), (320, 320, 3, 3), (320,), (10240, 320), (640, 640, 3, 3), (1280,)) * 2


def _cases() -> list[Operation]:
    described: dict[str, tuple] = {
        # large enough for the machine's peak; both are the same product
        f"{PEAK}, as linear": ("linear", (2048, 2048), (2048, 2048), (2048,)),
        f"{PEAK}, as conv": ("conv2d", (1, 2048, 32, 64), (2048, 2048, 1, 1), (2048,)),
    }
    for name, (function, x, weight) in _CONVOLUTIONS.items():
        described[f"conv {name}"] = (function, x, weight, weight[:1])
    for rows, i, o in _LINEARS:
        described[f"linear {rows}x{i} to {o}"] = ("linear", (rows, i), (o, i), (o,))
    width = (320, 320)
    described["linear from channels 8x320x16x16"] = ("linear_from_channels", (8, 320, 16, 16), width, (320,))
    described["linear to channels 8x320x16x16"] = (
        "linear_to_channels",
        (8, 256, 320),
        width,
        (320,),
        (8, 320, 16, 16),
    )
    for name, (function, q, k) in _ATTENTIONS.items():
        described[f"attention {name}"] = (function, q, k, k)
    described["attention masked 1x120, 64 heads"] = ("attention_masked", *((1, 120, 4096),) * 3, (1, 64, 120, 120))
    described |= _OTHERS
    found = [
        Operation(name, phase, function, tuple(shapes))
        for name, (function, *shapes) in described.items()
        for phase in (FORWARD, TRAIN)
        if phase == FORWARD or not name.startswith(PEAK)
    ]
    return [*found, Operation("adamw 12.5 M parameters", TRAIN, "adamw", _ADAMW)]


CASES = _cases()

if __name__ == "__main__":
    from run import main

    main(["ops"])
