r"""What guidance really samples from.

At one noise level the guided score is that of p_c (p_c / p_u)^(w - 1): for classes, where
p_c / p_u is proportional to p(c | x), the score of p(x) p(c | x)^w. It is often said that guided
samples are drawn from this *tilted* law. They are not: tilting and noising do not commute, so the
guided scores of the levels are not the scores of any one law noised, and where the run ends is to
be worked out. It even depends on eta, as it never does for a true field.

With exact parts nothing is left open. `guidance_audit` moves the prior's density under the guided
law (`evolve`), judges a guided cloud by it, and puts three laws beside each other on one grid:

    guided        what guided sampling makes
    conditional   p_c, what it is thought to be near
    tilted        p_c^w p_u^(1 - w), normalised: what it is said to be

How much guidance pays, and with what, are two numbers (Alaa et al. 2022). With S(p) the smallest
set that holds 95 % of p,

    fidelity = guided mass of S(conditional),    coverage = conditional mass of S(guided):

0.95 both where the two laws are one; more fidelity than that is bought with coverage.

Source: Bradley and Nakkiran 2024, "Classifier-free guidance is a predictor-corrector"; Chidambaram
et al. 2024, "What does guidance do?", for mixtures of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_int
from sdeflow.density import Density, Grid
from sdeflow.diagnostics.goodness_of_fit import check_density
from sdeflow.diagnostics.verdict import Verdict
from sdeflow.distributions.mixture import prior_density
from sdeflow.fields.exact import ExactField
from sdeflow.fields.guided import GuidedField
from sdeflow.fokker_planck.density_path import REFUSE, Diagnostics
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.rescaling import Rescaling, fitted_rescaling
from sdeflow.processes.time_grids import log_snr_times
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver

HELD = 0.95


@dataclass(frozen=True, eq=False)
class GuidedLaw:
    """Three laws on one grid at the last time of a guided run, and the verdict on its cloud.

    Attributes:
        scale: w.
        guided, conditional, tilted: the densities; each with an estimate of its own error.
        cloud: (n, d) guided particles.
        verdict: the cloud against `guided`.
    """

    scale: float
    guided: Density
    conditional: Density
    tilted: Density
    cloud: Tensor
    verdict: Verdict

    @property
    def from_conditional(self) -> tuple[float, float]:
        """Total variation between the guided and the true law, and the error of that number."""
        return _between(self.guided, self.conditional)

    @property
    def from_tilted(self) -> tuple[float, float]:
        """Total variation between the guided and the tilted law, and the error of that number."""
        return _between(self.guided, self.tilted)

    @property
    def fidelity(self) -> float:
        """Guided mass in the smallest set that holds 95 % of the conditional law."""
        return float(self.guided.mass[smallest_set(self.conditional)].sum())

    @property
    def coverage(self) -> float:
        """Conditional mass in the smallest set that holds 95 % of the guided law."""
        return float(self.conditional.mass[smallest_set(self.guided)].sum())

    def __str__(self) -> str:
        """A short table."""
        rows = (("conditional", self.from_conditional), ("tilted", self.from_tilted))
        return "\n".join(
            [
                f"w = {self.scale:g}: fidelity {self.fidelity:.3f}, coverage {self.coverage:.3f}",
                *(f"TV to the {name:<12}{tv:>9.4f} +- {e:.1e}" for name, (tv, e) in rows),
                str(self.verdict),
            ]
        )


def guided_law(
    field: GuidedField,
    grid: Grid,
    *,
    conditional: ExactField | None = None,
    against: ExactField | None = None,
    eta: float = 0.0,
    n: int = 10_000,
    steps: int = 200,
    rescaling: Rescaling | None = None,
    seed: int = 0,
    refuse: Diagnostics = REFUSE,
) -> GuidedLaw:
    """Work out the law that guided sampling ends in, and put it beside the ones that are meant.

    Args:
        field: what drives the run; exact or learned.
        grid: for the laws at the process's last time, and large enough for them.
        conditional, against: the truth; by default the field's own parts, which must be exact.
        eta: noise of the run, as in `reverse`.
        n: particles of the cloud that is judged, from the same prior.
        steps: of the density and of the cloud.
        ruler: lets the grid breathe; by default so that its half-width is five times s(t).
        seed: of the cloud and of the verdict.
        refuse: as in `evolve`.

    Raises:
        TypeError: field is no `GuidedField`, or a part is not exact and no truth is given.
        ValueError: the grid misses mass of the laws; SdeflowError: as `evolve`.
    """
    if not isinstance(field, GuidedField):
        raise TypeError(f"field must be a GuidedField, got {type(field).__name__}")
    wanted, other = (
        _exact(name, given or part)
        for name, given, part in (
            ("conditional", conditional, field.conditional),
            ("against", against, field.against),
        )
    )
    process, law = field.process, reverse(field, eta)
    rescaling = fitted_rescaling(grid, process, process.t_min) if rescaling is None else rescaling
    wide = grid.scaled(rescaling(process.t_max) / rescaling(process.t_min))
    start = prior_density(wide, process)
    ends = torch.tensor([process.t_max, process.t_min], dtype=torch.float64)
    guided = evolve(law, start, ends, steps=steps, rescaling=rescaling, refuse=refuse)[-1]
    true = wanted.density(grid, process.t_min)
    x = process.prior(check_int(n, "n"), grid.dim, seed, torch.float64)
    # Of orders 3/2 and 4, so that no step shows: rk4 asks the field as often in a quarter of them.
    solver = (
        SDESolver("srk", times=log_snr_times(process, steps), seed=seed)
        if eta
        else ODESolver("rk4", times=log_snr_times(process, max(1, steps // 4)))
    )
    cloud = solver.solve(law, x, 1).x[-1]
    said = tilted(true, other.density(grid, process.t_min), field.scale)
    return GuidedLaw(
        field.scale, guided, true, said, cloud, check_density(cloud, guided, seed=seed)
    )


def tilted(conditional: Density, against: Density, scale: float) -> Density:
    r"""The law p_c^w p_u^(1 - w) / Z, w = `scale`, from the masses of p_c and p_u on one grid.

    For p_c = p(x | c) and p_u = p(x) it is p(x) p(c | x)^w / Z. Of second order in the cell; the
    difference to coarser cells gives `error`.

    Raises:
        ValueError: the grids differ.
    """
    if not conditional.grid.same(against.grid):
        raise ValueError("the two laws stand on different grids; bring them to one first")
    error = None
    if not any(n % 2 for n in conditional.grid.shape):
        fine = _tilted(conditional, against, scale).coarsen()
        rough = _tilted(conditional.coarsen(), against.coarsen(), scale)
        error = fine.total_variation(rough) / 3
    out = _tilted(conditional, against, scale)
    return Density(out.grid, out.mass, error)


def _tilted(conditional: Density, against: Density, scale: float) -> Density:
    c, u = conditional.mass, against.mass
    # Where p_c has nothing the product has nothing, whatever p_u is.
    log = scale * torch.log(c) + (1 - scale) * torch.log(u.clamp_min(torch.finfo(u.dtype).tiny))
    mass = torch.exp(torch.where(c > 0, log, -torch.inf) - log[c > 0].max())
    return Density(conditional.grid, mass / mass.sum())


def smallest_set(density: Density, held: float = HELD) -> Tensor:
    """The fewest cells that hold this share of a density, a mask of its shape."""
    mass = density.mass.reshape(-1)
    rank = torch.argsort(mass, descending=True, stable=True)
    before = torch.cumsum(mass[rank], 0) - mass[rank]
    inside = torch.zeros_like(mass, dtype=torch.bool)
    inside[rank] = before < held * mass.sum()
    return inside.reshape(density.mass.shape)


def _exact(name: str, part: object) -> ExactField:
    if not isinstance(part, ExactField):
        raise TypeError(
            f"the truth of `{name}` is not known: {type(part).__name__} is no exact field; "
            f"give {name}="
        )
    return part


def _between(p: Density, q: Density) -> tuple[float, float]:
    return p.total_variation(q), (p.error or 0.0) + (q.error or 0.0)
