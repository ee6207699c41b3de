"""Say errors and warnings in one sentence, with advice that a user of the command can follow."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from sdeflow._validation import SdeflowError
from sdeflow._wording import sentence
from sdeflow.distributed import first_to_report

CURES = {
    "reached the wall": "the field spreads its cloud beyond the data: train it longer",
    "finer cells or more steps": "take more cells or steps",
    "finer cells": "take more cells",
    "more steps": "take more steps",
}
"""Words of a message of `evolve` -> the advice; other messages stay as they are."""


@contextmanager
def advised() -> Iterator[None]:
    """Give errors and warnings raised inside the advice for a check; show each warning once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except SdeflowError as error:
            if _advice(str(error)) == str(error):
                raise
            raise SdeflowError(_advice(str(error))) from None
    told = {re.sub(r"\d[\d.e+-]*", "", str(w.message)): w for w in reversed(caught)}
    for each in reversed(told.values()):  # several densities give the same warning
        warnings.warn(_advice(str(each.message)), each.category, stacklevel=4)


def _advice(complaint: str) -> str:
    for words, cure in CURES.items():
        if words in complaint:
            return f"{complaint.split(';')[0]}; {cure}"
    return complaint


def complain(error: Exception | str) -> None:
    """Print why the command ends, in one line; in a torchrun job, by the rank that knows it."""
    if first_to_report():
        print("sdeflow:", error if isinstance(error, str) else sentence(error), file=sys.stderr)


@contextmanager
def silenced(silent: bool) -> Iterator[None]:
    """Drop all that is printed inside, if `silent`: in a torchrun job, rank 0 speaks for all."""
    if not silent:
        yield
        return
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        yield
