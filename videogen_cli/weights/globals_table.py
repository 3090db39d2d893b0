"""Which pickled globals mean something, which are refused, and which become placeholders.

Pairs of (module, name) match exactly or not at all; nothing is ever imported, and dotted names are never split:
``STACK_GLOBAL`` would otherwise reach ``os.system`` through any module that imports ``os``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from videogen_cli.errors import WeightsError
from videogen_cli.weights.dtypes import DTYPES
from videogen_cli.weights.names import plain
from videogen_cli.weights.pickle_machine import Foreign, Known

# Modules whose functions run code, touch files, or reach the network. Nothing of them would be run here anyway;
# a file that names them is not one to take weights from.
_REFUSED_WORDS = """
    _codecs _ctypes _io _operator _pickle _posixsubprocess _socket _thread aifc antigravity ast
    asyncio atexit bdb builtins __builtin__ cPickle cffi cgi cloudpickle code codecs codeop commands concurrent copy_reg
    copyreg cProfile ctypes dbm dill dis distutils doctest ensurepip faulthandler fcntl ftplib functools gc glob http
    idlelib imaplib imp importlib inspect io joblib lib2to3 linecache marshal mmap modulefinder multiprocessing netrc nt
    ntpath operator os pdb pickle pip pipes pkg_resources pkgutil platform poplib popen2 posix posixpath
    profile pty py_compile pydoc readline requests resource rlcompleter runpy sched select setuptools shelve shutil
    signal site smtplib socket socketserver sqlite3 ssl subprocess symtable sys sysconfig syslog tarfile telnetlib
    tempfile termios threading timeit tkinter trace tracemalloc tty turtle types unittest urllib venv
    webbrowser winreg wsgiref xmlrpc zipapp zipfile zipimport
"""
_REFUSED_MODULES = frozenset(_REFUSED_WORDS.split())
_HARMLESS_WORDS = """
    set frozenset bytearray complex slice range xrange list dict tuple int long float bool str unicode bytes object
"""
_HARMLESS = frozenset((module, name) for module in ("builtins", "__builtin__") for name in _HARMLESS_WORDS.split())
_REFUSED_PAIRS = frozenset(
    {
        ("torch", "load"),
        ("torch", "compile"),
        ("torch.serialization", "load"),
        ("torch.hub", "load"),
        ("torch.jit", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "memmap"),
    }
)

_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
_DTYPE_ALIASES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "cfloat": "complex64",
    "cdouble": "complex128",
}


class StorageClass:
    """The type of a storage in a persistent id; ``dtype`` is None for raw bytes."""

    def __init__(self, dtype: str | None) -> None:
        self.dtype = dtype


class TorchDType(str):
    """A ``torch.<dtype>`` constant."""

    __slots__ = ()


def _ordered_dict(*pairs: Any) -> dict[Any, Any]:
    """Make the dictionary; items given as a list of string-keyed pairs were written by very old Pythons."""
    result: dict[Any, Any] = {}
    for key, value in pairs[0] if pairs else ():
        if not isinstance(key, str):
            raise ValueError("keys must be text")
        result[key] = value
    return result


def _encode(text: str, encoding: str) -> bytes:
    """Give back the bytes that protocol 2 spells as latin1 text."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("unexpected encoding")
    return text.encode("latin1")


def _small(*arguments: Any) -> str:
    """Represent a device or a layout by its words."""
    return ":".join(str(a) for a in arguments if isinstance(a, (str, int)))


def base_globals() -> dict[tuple[str, str], Any]:
    """Return the globals whose meaning does not depend on the file."""
    table: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): Known("collections.OrderedDict", _ordered_dict),
        ("_codecs", "encode"): Known("_codecs.encode", _encode),
        ("torch", "Size"): Known("torch.Size", lambda sizes=(): tuple(sizes)),
        ("torch", "device"): Known("torch.device", _small),
        ("torch.serialization", "_get_layout"): Known("torch.serialization._get_layout", _small),
        ("torch.storage", "UntypedStorage"): StorageClass(None),
    }
    for prefix, dtype in _STORAGES.items():
        for module in ("torch", "torch.cuda", "torch.storage"):
            table[module, f"{prefix}Storage"] = StorageClass(dtype)
    for name in (*DTYPES, *_DTYPE_ALIASES):
        table["torch", name] = TorchDType(_DTYPE_ALIASES.get(name, name))
    return table


class GlobalTable:
    """Resolves globals and remembers the unknown ones.

    Args:
        where: the file, for messages.
        handlers: further (module, name) pairs and what calling them does.
    """

    def __init__(self, where: str, handlers: Mapping[tuple[str, str], Callable[..., Any]]) -> None:
        self.where = where
        self.table = base_globals()
        self.table.update({pair: Known(".".join(pair), call) for pair, call in handlers.items()})
        self.unknown: dict[str, None] = {}

    def find(self, module: str, name: str) -> Any:
        """Return the meaning of a global, or a placeholder for it.

        Raises:
            WeightsError: the global is one no checkpoint needs and attackers do.
        """
        known = self.table.get((module, name))
        if known is not None:
            return known
        full = f"{module}.{name}"
        root = module.partition(".")[0]
        refused = root in _REFUSED_MODULES or module in _REFUSED_MODULES or (module, name) in _REFUSED_PAIRS
        if "." in name or (refused and (module, name) not in _HARMLESS):
            raise WeightsError(
                f"refused: the file asks to run or import '{plain(full)}', which no weights need",
                where=self.where,
                hint="The file may be malicious. Nothing of it was run. Get the weights from their publisher.",
            )
        self.unknown.setdefault(full)
        return Foreign(full)
