"""Load the sampler file of a package without the training tools that the package asks for.

k-diffusion, smalldiffusion and torchdyn import wandb, CLIP, torchvision, accelerate or Lightning,
which none of their samplers calls; torchvision asks for a torch of its own. Such a package is
installed without its dependencies, its `__init__` is left out, and an inert module stands in for
each tool that is not there, as long as the file is loading.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType


class _Inert(ModuleType):
    """A module of which each name is a class that does nothing."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def sampler_file(module: str, unused: tuple[str, ...] = ()) -> ModuleType:
    """The file `package.file`, of a package whose `__init__` is not run.

    Args:
        module: the file.
        unused: modules that it imports and its samplers do not call.

    Raises:
        ModuleNotFoundError: the package, or a module that its samplers do call, is not installed.
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
    """Why a package is left out, and how to install it."""
    return f"{error.name} is not installed: {how}"
