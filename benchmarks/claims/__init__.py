"""The claims: every statement of the lectures, as something that runs.

    F1 to F10           noising
    R1 to R17           the reverse kernel, bounds, the score; targets and the learned field
    S1 to S14           sampling with noise, without it, by the flow
    M1 to M12           flow matching
    G1 to G12           classes, prompts and guidance
    C1 to C7            pictures and words

Those on pictures need the extra `images`; without it they are skipped, in a sentence each.

One claim is one file: S3 is `s3_ddpm_without_noise.py`. `claim` says what a claim is, `records`
runs it and keeps what was measured, `page` writes docs/claims.md, `setting` holds what the
lectures worked with.
"""

import importlib
import pkgutil
import re

from benchmarks.claims.claim import Bound, Check, Claim, Finding, Lab, Verdict

GROUPS = "frsmgc"
FILE = re.compile(rf"([{GROUPS}])(\d+)_\w+")


def _files() -> list[str]:
    """The names of the claims' modules: by group, then by number."""
    found = [m for info in pkgutil.iter_modules(__path__) if (m := FILE.fullmatch(info.name))]
    return [m[0] for m in sorted(found, key=lambda m: (GROUPS.index(m[1]), int(m[2])))]


CLAIMS: tuple[Claim, ...] = tuple(
    Claim.of(importlib.import_module(f"{__name__}.{name}")) for name in _files()
)

__all__ = ["CLAIMS", "Bound", "Check", "Claim", "Finding", "Lab", "Verdict"]
