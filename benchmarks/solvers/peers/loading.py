"""Load the samplers of a package without the training tools that the package requires.

k-diffusion, smalldiffusion and torchdyn import wandb, CLIP, torchvision, accelerate or Lightning,
which their samplers do not use; torchvision requires a certain version of torch. Such a package is
installed without its dependencies, its `__init__` is not run, and an empty module replaces each
missing tool while the file is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType


class _Inert(ModuleType):
    """A module in which each name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def sampler_file(module: str, unused: tuple[str, ...] = ()) -> ModuleType:
    """Load the file `package.file` without running the `__init__` of the package.

    Args:
        module: the file.
        unused: modules that it imports and that its samplers do not use.

    Raises:
        ModuleNotFoundError: the package, or a module that its samplers use, is not installed.
    """
    package = module.partition(".")[0]
    if package in sys.modules:
        return importlib.import_module(module)
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    missing = [name for name in unused if not importlib.util.find_spec(name.partition(".")[0])]
    sys.modules.update({name: _Inert(name) for name in missing})
    sys.modules[package] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(module)
    finally:
        for name in list(sys.modules):
            if name in missing or name.partition(".")[0] == package:
                del sys.modules[name]


def not_here(error: ModuleNotFoundError, how: str) -> str:
    """The reason why a package is left out, and how to install it."""
    return f"{error.name} is not installed: {how}"
