"""Write the claims' records as a Markdown page: a legend, a table and a section for each."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from benchmarks.claims.claim import GROUPS, Verdict
from benchmarks.claims.records import Record

HEAD = """# The claims

Each claim is a statement of the lectures on diffusion models, measured by a program of this
package: `python -m benchmarks claims all`. The lectures are (000), a guest video on image and
video models; (001), fast.ai's lesson 9B; (002), a video on flow matching; (003), an edited copy of
(000). Where they show large models, small ones are trained here, on handwritten digits.

## How to read this page

The letter of a claim names its subject:

"""

LEGEND = """Each claim has a section with these parts:

- **said** has the lecture's words: a quotation in quotation marks, or a summary "in our words".
- **measured** says in plain words what is measured, and what the result means.
- **correction** says how the sentence must be read to be true.
- **control** names one mistake that is put in on purpose. A test repeats the measurement with this
  mistake, and at least one check must then come out the other way. So a check that holds could
  also have failed.
- **source** has the equation, the conditions and the paper.

The verdict comes from the checks alone. A **check** is a measured number and its **bound**, the
interval in which it is expected; "a +- b" is the interval from a - b to a + b. The column
"against" says where the bound comes from:

| against | the bound is |
|:--|:--|
| theory, closed form, identity | the number that an equation gives |
| rounding | the error of floating-point numbers, with a margin |
| four standard errors | the statistical error of the mean, times four |
| two samples of the data | the **sampling floor**: the distance between two samples of the same \
distribution, below which no cloud can be told from the data |
| level of the test | the p-value below which a statistical test rejects, here 0.001 |
| asked for, expected | a threshold that was set before the measurement |
| docs/sources.md, N7 | a number that was found before, under conditions listed in \
[sources.md](sources.md) |

If all checks hold, the claim **holds**, or **holds with a correction** where the sentence is true
only as corrected. If a check fails, the claim **does not hold as said**. The numbers below "Also
measured" decide nothing.

Words and symbols that return in checks and controls:

- **exact field**: the noise, data or score estimate that follows from the data by an equation. It
  needs no network, so with it every error is one of the sampler.
- **eta**: how much noise the sampler adds; 0 is the flow (DDIM), 1 the reverse SDE (DDPM).
- **w**: the scale of guidance; 1 is no guidance.
- **sigma**, **alpha**: x_t = alpha x_0 + sigma eps; **x0_hat**, **eps_hat**: the estimates of
  x_0 and eps from x_t.
- **W2**: the Wasserstein distance of two clouds, a root mean square distance of matched particles.
- **total variation**: half the integral of |p - q|; 0 for equal densities, 1 for disjoint ones.
- **spread**: the root mean square distance of a cloud from its mean. **Covered**, **coverage**:
  how many data points are the nearest one to some particle. **Accuracy**: the share of samples in
  the class asked for.
- **after Holm**: p-values corrected for the number of tests made.
- **nat**: the unit of ln p and of information; one nat is 1.44 bits.
"""


def markdown(records: Sequence[Record], figures: str = "") -> str:
    """The page of these records.

    Args:
        records: in the order of the page.
        figures: the folder of the figures, as a prefix of their names.
    """
    number = {v: sum(r.verdict is v for r in records) for v in Verdict}
    sentence = "; ".join(f"{verdict}: {n}" for verdict, n in number.items()) + "."
    rows = [
        (f"[{r.id}](#{r.id.lower()})", r.title, r.verdict, f"{_holding(r)} of {len(r.checks)}")
        for r in records
    ]
    letters = _table(["letter", "claims on"], list(GROUPS.items()))
    summary = _table(["id", "claim", "verdict", "checks that hold"], rows)
    sections = [_section(r, figures) for r in records]
    head = [HEAD.rstrip(), letters, LEGEND.rstrip(), "## All claims", sentence.capitalize()]
    return "\n\n".join([*head, summary, *sections]) + "\n"


def _holding(record: Record) -> int:
    return sum(check.holds for check in record.checks)


def _section(r: Record, figures: str) -> str:
    """The section of one claim: what was said and measured, the checks, and how it was made."""
    checks = [
        (c.name, f"{c.value:.4g}", c.expected, c.against, "yes" if c.holds else "**no**")
        for c in r.checks
    ]
    notes = [f"- {name}: {value:.4g}" for name, value in r.notes.items()]
    texts = {
        "said": r.says,
        "measured": r.measured,
        "correction": r.correction,
        "control": r.control,
    }
    end = [f"- source: {r.source}"] if r.source else []
    end += [f"- figure: [{r.figure}]({figures}{r.figure})"] if r.figure else []
    end += [f"- made by: {r.made['commit']}, seed {r.seed}"]
    parts = [
        f"## {r.id}",
        f"{r.title} **{r.verdict.capitalize()}.**",
        "\n".join(f"- {name}: {text}" for name, text in texts.items() if text),
        _table(["check", "measured", "expected", "against", "holds"], checks),
        "\n".join(["Also measured:", "", *notes]) if notes else "",
        "\n".join(end),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(head: list[str], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; a bar within a cell is escaped."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return tabulate(cells, head, tablefmt="pipe", disable_numparse=True)
