"""What a kernel cannot take or do is said in words, in graph mode as in pynative."""

from __future__ import annotations

import numpy as np
import pytest

from videogen_cli.cli.failures import report
from videogen_cli.config import DeviceConfig
from videogen_cli.errors import ExitCode, UsageError
from videogen_cli.output import Output
from videogen_cli.runtime import context
from videogen_cli.runtime.kernels import build, compiler

context.start(DeviceConfig(threads=2, compile_cache=False))

import mindspore as ms  # noqa: E402

from videogen_cli.runtime.cells import Cell  # noqa: E402
from videogen_cli.runtime.kernels import calls  # noqa: E402
from videogen_cli.runtime.kernels.calls import Kernel, numbers  # noqa: E402

SOURCE = b"""
#include "vgen.h"
// Takes more memory than there is, before it does anything.
VGEN_KERNEL(greedy) { args.floats(2)[0] = vgen::Scratch(int64_t{1} << 58).get()[0]; }
VGEN_KERNEL(failing) { if (args.count) throw args.count; }
// The integers that came with x, in the order they were given.
VGEN_KERNEL(told) {
  for (int i = 0; i < args.dim(2, 0); i++) args.floats(2)[i] = static_cast<float>(args.number(1, i));
}
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Make operators of a library of our own."""
    tool = next(compiler.compilers(), None)
    if tool is None:
        pytest.skip("there is no C++ compiler")
    path = tmp_path_factory.mktemp("library") / "made.so"
    work = tmp_path_factory.mktemp("work")
    headers = {name: text for name, text in compiler.sources().items() if name.endswith(".h")}
    compiler.compile_library(tool, {**headers, "made.cc": SOURCE}, work, path)

    def make(name, shapes, bprop=None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(calls, "library", lambda: build.Library(path))
            return Kernel(name, shapes, bprop)

    return make


@pytest.fixture(params=["graph", "pynative"], autouse=True)
def mode(request):
    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


class Calling(Cell):
    def __init__(self, operator, *values):
        super().__init__()
        self.operator, self.values = operator, values

    def construct(self, x):
        return self.operator(x, numbers(*self.values)) + 0


def call(operator, x, *values):
    return Calling(operator, *values)(ms.Tensor(x)).asnumpy()


def same(x, _):
    return list(x)


def one_each(x, plain):
    return [len(plain) - 1]


def halves(x, _):
    batch, length = x
    if length % 2:
        raise ValueError("the last axis is odd")
    return [batch, length // 2 - 1]


def test_numbers_arrive(kernel):
    operator = kernel("told", one_each)
    assert call(operator, np.ones((2, 2), np.float32), 7, 0, 3).tolist() == [7, 0, 3]
    assert call(operator, np.ones((2, 2), np.float32), 1, 2, 3).tolist() == [1, 2, 3], "no call sees another's"


@pytest.mark.parametrize(
    "x, why",
    [
        (np.ones((2, 3), np.float32), "halves cannot take 2x3: the last axis is odd"),
        (np.ones((2, 2), np.float32), "halves cannot take 2x2: nothing would be left: 2x0"),
        (np.ones((2, 4, 6), np.float32), "halves cannot take 2x4x6: too many values"),
        (np.ones((2, 4), np.float16), "halves cannot take 2x4: Float16 is not float32"),
        (np.ones((0, 4), np.float32), "halves cannot take 0x4: an axis is empty"),
    ],
)
def test_what_a_kernel_cannot_take_is_said(kernel, x, why):
    operator = kernel("told", halves)
    operator.kernel = "halves"
    with pytest.raises(UsageError) as caught:
        call(operator, x)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    "name, code, text",
    [
        ("greedy", ExitCode.MEMORY, "error: out of memory in greedy\n"),
        ("failing", ExitCode.BUG, "function(failing) is 1."),
    ],
)
def test_what_a_kernel_returns_becomes_an_exit_code(kernel, capsys, name, code, text):
    with pytest.raises(RuntimeError) as caught:
        call(kernel(name, same), np.ones((2, 2), np.float32))
    assert report(caught.value, Output()) == code
    assert text in capsys.readouterr().err
