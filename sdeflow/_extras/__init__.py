"""Packages of the extra `files`, loaded when they are needed: `_extras.h5py`, `_extras.xarray`.

xarray brings pandas, which would cost every command half a second.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from sdeflow._validation import SdeflowError as _SdeflowError

__all__ = ["h5py", "xarray"]


def __getattr__(name: str) -> _Any:
    if name not in __all__:
        raise AttributeError(f"sdeflow._extras has no {name}")
    try:
        return _import_module(name)
    except ImportError:
        raise _SdeflowError(f"this needs {name}: pip install 'sdeflow[files]'") from None
