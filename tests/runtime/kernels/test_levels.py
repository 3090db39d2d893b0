"""The kernels compute the same on CPUs with narrower vectors, and compile for those of another architecture."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.runtime.kernels.native import check, compiled_for, random_cases
from videogen_cli.runtime import host
from videogen_cli.runtime.kernels import compiler


@pytest.mark.skipif("x86-64-v3" not in host.cpu_levels(), reason="this CPU has no AVX2")
@pytest.mark.parametrize("kernel", random_cases())
def test_values_with_vectors_of_eight(kernel):
    path = compiled_for("-march=x86-64-v3")
    for seed in range(10):
        check(random_cases()[kernel](np.random.default_rng(seed)), path)


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-g++") is None, reason="there is no compiler for aarch64")
def test_compiles_without_warnings_for_aarch64(tmp_path):
    tool = compiler.Compiler(("aarch64-linux-gnu-g++",))
    flags = ("-O1", "-Wall", "-Wextra", "-Werror")
    compiler.compile_library(tool, compiler.sources(), tmp_path, tmp_path / "kernels.so", flags)
    assert (tmp_path / "kernels.so").stat().st_size
