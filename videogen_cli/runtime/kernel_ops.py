"""The CPU's operators as compiled kernels (see :mod:`.kernels`); what has none is as in :mod:`.cpu_ops`.

What the functions mean is said in :mod:`videogen_cli.runtime.functional`.
"""

from videogen_cli.runtime.cpu_ops import (  # noqa: F401
    depthwise_conv2d,
    leaky_relu,
    max_pool2d,
)
from videogen_cli.runtime.kernels.activations import (  # noqa: F401
    exp,
    geglu,
    gelu,
    gelu_tanh,
    sigmoid,
    silu,
    softmax,
    swiglu,
    tanh,
)
from videogen_cli.runtime.kernels.attention import attention  # noqa: F401
from videogen_cli.runtime.kernels.convolution import conv2d, conv3d, conv_transpose2d  # noqa: F401
from videogen_cli.runtime.kernels.layout import permute, upsample_nearest  # noqa: F401
from videogen_cli.runtime.kernels.linear import linear  # noqa: F401
from videogen_cli.runtime.kernels.linear_channels import linear_from_channels, linear_to_channels  # noqa: F401
from videogen_cli.runtime.kernels.norms import (  # noqa: F401
    gated_add,
    group_norm,
    layer_norm,
    rms_norm,
    shift_channels,
)
