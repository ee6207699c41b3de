"""Say what to do at the sizes of a check when `evolve` complains: it has no box to choose."""

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
"""What to do, by words of the complaint; whatever has none of them stays as it is."""


@contextmanager
def advised() -> Iterator[None]:
    """Give errors and warnings inside the advice for a check, and each warning once.

    Raises:
        SdeflowError: what was raised inside, with that advice.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except SdeflowError as error:
            if _advice(str(error)) == str(error):
                raise
            raise SdeflowError(_advice(str(error))) from None
    told = {re.sub(r"\d[\d.e+-]*", "", str(w.message)): w for w in reversed(caught)}
    for each in reversed(told.values()):  # several densities complain of the same
        warnings.warn(_advice(str(each.message)), each.category, stacklevel=4)


def _advice(complaint: str) -> str:
    for words, cure in CURES.items():
        if words in complaint:
            return f"{complaint.split(';')[0]}; {cure}"
    return complaint
