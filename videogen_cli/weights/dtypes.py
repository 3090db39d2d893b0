"""Number types of checkpoints: names, sizes, how each container spells them, and exact casts.

numpy has no bfloat16 and no 8-bit floats: such tensors travel as the unsigned integers that hold their bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from videogen_cli.errors import WeightsError


@dataclass(frozen=True)
class DType:
    """One number type; ``numpy`` is the little-endian type its bits are held in."""

    name: str
    numpy: str
    safetensors: str = ""  # "" = the container cannot hold it
    mindspore: str = ""

    @property
    def itemsize(self) -> int:
        """Bytes per number."""
        return np.dtype(self.numpy).itemsize

    @property
    def floating(self) -> bool:
        """Whether ``--dtype`` may cast it (real floats only)."""
        return self.name.startswith(("float", "bfloat"))


_TABLE = (
    DType("float64", "<f8", "F64", "Float64"),
    DType("float32", "<f4", "F32", "Float32"),
    DType("float16", "<f2", "F16", "Float16"),
    DType("bfloat16", "<u2", "BF16", "BFloat16"),
    DType("int64", "<i8", "I64", "Int64"),
    DType("int32", "<i4", "I32", "Int32"),
    DType("int16", "<i2", "I16", "Int16"),
    DType("int8", "|i1", "I8", "Int8"),
    DType("uint64", "<u8", "U64", "UInt64"),
    DType("uint32", "<u4", "U32", "UInt32"),
    DType("uint16", "<u2", "U16", "UInt16"),
    DType("uint8", "|u1", "U8", "UInt8"),
    DType("bool", "|b1", "BOOL", "Bool"),
    DType("complex64", "<c8", "C64"),
    DType("complex128", "<c16"),
    DType("float8_e4m3fn", "|u1", "F8_E4M3"),
    DType("float8_e5m2", "|u1", "F8_E5M2"),
    DType("float8_e4m3fnuz", "|u1", "F8_E4M3FNUZ"),
    DType("float8_e5m2fnuz", "|u1", "F8_E5M2FNUZ"),
    DType("float8_e8m0fnu", "|u1", "F8_E8M0"),
)
DTYPES = {item.name: item for item in _TABLE}
BY_SAFETENSORS = {item.safetensors: item for item in _TABLE if item.safetensors}
BY_MINDSPORE = {item.mindspore: item for item in _TABLE if item.mindspore}
BY_NUMPY = {item.numpy: item for item in _TABLE if item.name not in ("bfloat16",) and "float8" not in item.name}
CAST_TARGETS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def written_type(dtype: str, cast: str | None) -> str:
    """Return what a tensor of ``dtype`` is written as: real numbers are cast if asked for (fp32, fp16, bf16)."""
    return CAST_TARGETS[cast] if cast and DTYPES[dtype].floating else dtype


def bfloat16_to_float32(bits: np.ndarray) -> np.ndarray:
    """Widen bfloat16 bits (uint16) to float32; exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def float32_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round float32 to bfloat16 bits (uint16), to nearest even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    quiet_nan = (bits >> np.uint32(16)) | np.uint32(0x40)
    is_nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(is_nan, quiet_nan, rounded).astype(np.uint16)


@cache
def _float8_table(exponent_bits: int, bias: int, variant: str) -> np.ndarray:
    """Decode all 256 codes of an 8-bit float (OCP 8-bit floating point specification; fnuz: arXiv 2206.02915)."""
    mantissa_bits = 7 - exponent_bits
    codes = np.arange(256)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    mantissa = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    normal = exponent > 0
    magnitude = np.where(normal, 1 + mantissa, mantissa) * np.exp2(np.where(normal, exponent, 1) - bias)
    values = np.where(codes & 0x80, np.negative(magnitude), magnitude)
    if variant == "fnuz":
        values[0x80] = np.nan
    elif variant == "fn":
        values[[0x7F, 0xFF]] = np.nan
    else:  # IEEE: the top exponent is infinity or NaN
        top = exponent == (1 << exponent_bits) - 1
        values[top] = np.where(mantissa[top] == 0, np.copysign(np.inf, values[top]), np.nan)
    return values.astype(np.float32)


_FLOAT8 = {
    "float8_e4m3fn": (4, 7, "fn"),
    "float8_e5m2": (5, 15, "ieee"),
    "float8_e4m3fnuz": (4, 8, "fnuz"),
    "float8_e5m2fnuz": (5, 16, "fnuz"),
}


def to_float32(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return ``values`` (bits of type ``dtype``) as float32; no copy when they are float32 already.

    Raises:
        WeightsError: complex numbers have no float32 value.
    """
    if dtype == "bfloat16":
        return bfloat16_to_float32(values)
    if dtype in _FLOAT8:
        return _float8_table(*_FLOAT8[dtype])[values]
    if dtype == "float8_e8m0fnu":  # powers of two only
        return np.where(values == 0xFF, np.nan, np.exp2(values.astype(np.float64) - 127)).astype(np.float32)
    if dtype.startswith("complex"):
        raise WeightsError(f"{dtype} numbers cannot become float32")
    return values.astype(np.float32, copy=False)


def cast(values: np.ndarray, dtype: str, target: str) -> np.ndarray:
    """Cast bits of type ``dtype`` to bits of type ``target`` (float32, float16, or bfloat16).

    Raises:
        WeightsError: a finite number is too large for ``target``.
    """
    if dtype == target:
        return values
    source = values if dtype == "float64" else to_float32(values, dtype)
    try:
        with np.errstate(over="raise"):  # raised for finite numbers that become infinite, and for nothing else
            if target != "bfloat16":
                return source.astype(DTYPES[target].numpy)
            source = source.astype(np.float32, copy=False)
        result = float32_to_bfloat16(source)
        if np.any((result & 0x7FFF) == 0x7F80) and np.any(np.isinf(bfloat16_to_float32(result)) & np.isfinite(source)):
            raise FloatingPointError
    except FloatingPointError as error:
        hint = "Use --dtype bf16 or fp32."
        raise WeightsError(f"holds numbers too large for {target}", hint=hint) from error
    return result
