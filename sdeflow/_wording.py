"""Write numbers, tables, devices and errors of other packages in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from tabulate import tabulate
from torch import Tensor


def in_words(numbers: Tensor | float) -> str:
    """A number in four digits, or the range of many: "0.5", "0.1 to 2"; "none" of none."""
    values = torch.as_tensor(numbers).detach()
    if not values.numel():
        return "none"
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high or not values.ndim else f"{low:.4g} to {high:.4g}"


def reason(error: Exception) -> str:
    """The message of another package's error, on one line and short, without unprintable text."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def sentence(error: Exception) -> str:
    """The message of an error on one line: the file and not the number of one of the system, and
    nothing of torch's stack."""
    text = re.split(r"\n(?:frame #|Exception raised)", str(error))[0]
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or 'a file'} cannot be read or written: {error.strerror}"
    return " ".join(text.split())


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence]) -> str:
    """A Markdown table of rows of words, which are not read as numbers."""
    return str(tabulate(rows, headers, tablefmt="github", disable_numparse=True))


def device_name(device: torch.device) -> str:
    """The name of a device, such as "cuda:0, NVIDIA H200"."""
    told = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{device}{told}"


def gpus() -> list[str]:
    """The names of the GPUs that torch can use on this machine."""
    found = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    found += [torch.device("mps")] if torch.backends.mps.is_available() else []
    return [device_name(device) for device in found]
