"""Check and name devices of torch: the CPU and GPUs."""

from __future__ import annotations

import torch

from sdeflow._validation import check_dtype, shown


def check_device(device: object, name: str = "device") -> torch.device:
    """Return `device` as a torch.device."""
    try:
        return torch.device(device)  # type: ignore[call-overload]
    except (TypeError, RuntimeError):
        raise TypeError(f"{name} must be a device, such as 'cpu' or 'cuda', got {shown(device)}") from None


def check_usable(device: object, name: str = "device") -> torch.device:
    """Return `device` as a torch.device if this machine has it."""
    wanted = check_device(device, name)
    try:
        torch.ones((), device=wanted).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"{name} {wanted} cannot be used here ({why}); take 'cpu'") from None
    return wanted


def check_place(
    where: object, dtype: object = None
) -> tuple[torch.device | None, torch.dtype | None]:
    """Return the arguments of `to`, a device or a type or both, as a device and a type."""
    if isinstance(where, torch.dtype) and dtype is None:
        return None, check_dtype(where)
    return check_device(where, "where"), None if dtype is None else check_dtype(dtype)


def device_name(device: torch.device) -> str:
    """The name of a device, such as "cuda:0, NVIDIA H200"."""
    told = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{device}{told}"


def gpus() -> list[str]:
    """The names of the GPUs that torch can use on this machine."""
    found = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    found += [torch.device("mps")] if torch.backends.mps.is_available() else []
    return [device_name(device) for device in found]
