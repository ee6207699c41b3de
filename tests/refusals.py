"""List the public names, and judge an error: a refusal in one sentence, or a broken thing?"""

import dis
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, TracebackType

import sdeflow as sf

PACKAGE = str(Path(sf.__file__).parent)
SENTENCES = (TypeError, ValueError, sf.SdeflowError, FileNotFoundError, IsADirectoryError)
LONGEST = 300  # characters of a sentence


def raised_by_us(error: BaseException) -> bool:
    """Whether a `raise` statement of the package made it, not an operation that failed."""
    trace = error.__traceback__
    assert isinstance(trace, TracebackType)
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    raises = dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
    return code.co_filename.startswith(PACKAGE) and raises


def faults(error: BaseException) -> str:
    """What is wrong with an error as a refusal; empty if nothing is."""
    text, kind = str(error), type(error).__name__
    if not isinstance(error, SENTENCES):
        return f"raw {kind}: {text[:150]!r}"
    if not raised_by_us(error):
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"raw {kind} in {Path(last.filename).name}:{last.lineno}: {text[:150]!r}"
    if "\n" in text or not text:
        return f"{len(text.splitlines())} lines: {text!r}"
    if len(text) > LONGEST:
        return f"{len(text)} characters: {text!r}"
    return ""


def members(module: ModuleType) -> Iterator[tuple[str, object]]:
    """The public names of a package, and what they stand for."""
    own = [k for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__]
    for name in getattr(module, "__all__", own):
        if not name.startswith("_"):
            yield name, getattr(module, name)


def unprintable(value: object) -> str:
    """What is wrong with the `repr` of a thing of ours; empty if nothing is."""
    if not type(value).__module__.startswith("sdeflow"):
        return ""
    text = repr(value)
    if "\n" in text or len(text) > LONGEST or re.search(r"tensor\(|array\(| at 0x", text):
        return f"prints itself as {text[:150]!r}"
    return ""
