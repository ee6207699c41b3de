"""Give errors and warnings of `evolve` the advice that a user of `sdeflow check` can follow."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from sdeflow._validation import SdeflowError

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
