"""Trying a kernel library in a process of its own, before one that has work to lose loads it.

Run as a script with the library's path, by a bare interpreter: it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import math
import sys

CANNOT_LOAD, WRONG = 3, 4
_COUNT = 1 << 16  # enough for several threads, and not a multiple of any vector


def exponentials(path: str) -> int:
    """Load the library at ``path``, let it take exponentials, and return an exit code."""
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        print(error)
        return CANNOT_LOAD
    count = _COUNT + 3
    floats = ctypes.c_float * count
    x, y = floats(*(i % 171 - 85.5 for i in range(count))), floats()
    shape = (ctypes.c_int64 * 1)(count)
    shapes = (ctypes.POINTER(ctypes.c_int64) * 2)(shape, shape)
    data, ndims = (ctypes.c_void_p * 2)(ctypes.addressof(x), ctypes.addressof(y)), (ctypes.c_int * 2)(1, 1)
    code = library.vgen_exponentials(2, data, ndims, shapes, None, None, None)
    right = all(math.isclose(b, math.exp(a), rel_tol=1e-6) for a, b in zip(x, y, strict=True))
    return 0 if code == 0 and right else WRONG


if __name__ == "__main__":
    sys.exit(exponentials(sys.argv[1]))
