"""Run the statements of the lectures on diffusion models as measurements.

    F1 to F10           the forward process
    R1 to R17           the reverse step: bounds, the score, the learned field
    S1 to S14           sampling with noise, without it, by the flow
    M1 to M12           flow matching
    G1 to G12           guidance by classes and prompts
    C1 to C7            pictures and words

Claims on pictures need the extra `images`; without it each is skipped with one sentence.

One claim is one file: S3 is `s3_ddpm_without_noise.py`. `claim` defines a claim, `records` runs it
and keeps the numbers, `page` writes docs/claims.md, `setting` has the lectures' data and networks.
"""

import importlib
import pkgutil
import re

from benchmarks.claims.claim import GROUPS, Bound, Check, Claim, Finding, Lab, Verdict

LETTERS = "".join(GROUPS).lower()
FILE = re.compile(rf"([{LETTERS}])(\d+)_\w+")


def _files() -> list[str]:
    """The names of the claims' modules, by group and number."""
    found = [m for info in pkgutil.iter_modules(__path__) if (m := FILE.fullmatch(info.name))]
    return [m[0] for m in sorted(found, key=lambda m: (LETTERS.index(m[1]), int(m[2])))]


CLAIMS: tuple[Claim, ...] = tuple(
    Claim.of(importlib.import_module(f"{__name__}.{name}")) for name in _files()
)

__all__ = ["CLAIMS", "Bound", "Check", "Claim", "Finding", "Lab", "Verdict"]
