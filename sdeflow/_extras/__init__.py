"""Packages of the extras `files` and `large`, loaded when they are needed: `_extras.h5py` ...

xarray brings pandas, which would cost every command half a second.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from sdeflow._validation import SdeflowError as _SdeflowError

__all__ = ["dask_array", "h5py", "xarray", "zarr"]

_EXTRA = {"h5py": "files", "xarray": "files", "zarr": "large", "dask_array": "large"}


def __getattr__(name: str) -> _Any:
    if name not in _EXTRA:
        raise AttributeError(f"sdeflow._extras has no {name}")
    module = name.replace("_", ".")
    try:
        return _import_module(module)
    except ImportError:
        package, extra = module.split(".")[0], _EXTRA[name]
        raise _SdeflowError(f"this needs {package}: pip install 'sdeflow[{extra}]'") from None
