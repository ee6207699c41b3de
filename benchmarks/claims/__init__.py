"""The claims: every statement of the lectures on two-dimensional data, as something that runs.

    forward         F1 to F8          noising
    reverse         R1 to R9          the reverse kernel, bounds, the score
    learning        R10 to R17        targets, and what the field looks like at each noise level
    sampling        S1 to S10, 13, 14 with noise, without it, by the flow
    flow            M1 to M12         flow matching
    conditioning    G1 to G10         classes and guidance

S11 and S12 need pretrained image and video models (docs/sources.md), and are no claims here.

A claim is found by its id: S3 is the function `s3` in `sampling`. `ledger` says what a claim is;
`setting` holds what the lectures worked with.
"""

from benchmarks.claims import conditioning, flow, forward, learning, reverse, sampling
from benchmarks.claims.ledger import Claim, Finding, Lab, Record, Ruling, gathered

CLAIMS: tuple[Claim, ...] = tuple(
    c
    for module in (forward, reverse, learning, sampling, flow, conditioning)
    for c in gathered(vars(module))
)

__all__ = ["CLAIMS", "Claim", "Finding", "Lab", "Record", "Ruling"]
