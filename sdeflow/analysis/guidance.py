r"""Compute the density of guided samples, and compare it with the intended densities.

At one noise level the guided score is that of the *tilted* density p_c (p_c / p_u)^(w - 1). But
tilting and noising do not commute, so guided samples have another density, which depends on eta.
`guided_law` computes three densities on one grid:

    guided        by `evolve` under the guided SDE
    conditional   p_c
    tilted        p_c^w p_u^(1 - w), normalised

Let S(p) be the smallest set that holds 95 % of p. Fidelity is the guided mass of S(conditional),
coverage the conditional mass of S(guided) (Alaa et al. 2022).

Source: Bradley and Nakkiran 2024; Chidambaram et al. 2024 for mixtures of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdeflow._validation import check_finite, check_int, check_kind, check_positive, check_seed
from sdeflow._wording import markdown_table
from sdeflow.density import Density, Grid
from sdeflow.diagnostics.goodness_of_fit import check_density
from sdeflow.diagnostics.verdict import Verdict
from sdeflow.distributions.mixture import prior_density
from sdeflow.fields.exact import ExactField
from sdeflow.fields.guided import GuidedField
from sdeflow.fokker_planck.arguments import check_refuse, check_rescaling
from sdeflow.fokker_planck.density_path import REFUSE, Diagnostics
from sdeflow.fokker_planck.evolve import evolve
from sdeflow.fokker_planck.rescaling import Rescaling, fitted_rescaling
from sdeflow.processes.time_grids import ends, log_snr_times
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver
from sdeflow.solvers.sde_solver import SDESolver

HELD = 0.95  # of the mass, in the smallest sets


@dataclass(frozen=True, eq=False)
class GuidedLaw:
    """The density of guided sampling, beside the conditional and the tilted density.

        tilted = p_c^w p_u^(1 - w) / Z

    Attributes:
        scale: w.
        guided, conditional, tilted: densities at the last time on one grid, each with an estimate
            of its error.
        cloud: (n, d) particles of guided sampling.
        verdict: on the cloud against `guided`.
    """

    scale: float
    guided: Density
    conditional: Density
    tilted: Density
    cloud: Tensor
    verdict: Verdict

    @property
    def from_conditional(self) -> tuple[float, float]:
        """The total variation of guided and conditional density, and its error."""
        return _between(self.guided, self.conditional)

    @property
    def from_tilted(self) -> tuple[float, float]:
        """The total variation of guided and tilted density, and its error."""
        return _between(self.guided, self.tilted)

    @property
    def fidelity(self) -> float:
        """The guided mass of the smallest set that holds 95 % of the conditional density."""
        return float(self.guided.mass[smallest_set(self.conditional)].sum())

    @property
    def coverage(self) -> float:
        """The conditional mass of the smallest set that holds 95 % of the guided density."""
        return float(self.conditional.mass[smallest_set(self.guided)].sum())

    def _summary(self) -> str:
        return f"w = {self.scale:g}: fidelity {self.fidelity:.3f}, coverage {self.coverage:.3f}"

    def __repr__(self) -> str:
        tv = self.from_tilted[0]
        return (
            f"guided sampling, {self._summary()}, total variation {tv:.4f} from the tilted density"
        )

    def __str__(self) -> str:
        """A Markdown table of the total variations, and the verdict."""
        rows = [
            (name, f"{tv:.4f}", f"{error:.1e}")
            for name, (tv, error) in (
                ("conditional", self.from_conditional),
                ("tilted", self.from_tilted),
            )
        ]
        table = markdown_table(("guided against", "total variation", "error"), rows)
        return f"{self._summary()}\n\n{table}\n\n{self.verdict}"

    _repr_markdown_ = __str__


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
    """Compare the density of guided sampling with the conditional and the tilted density.

        TV(guided, p_c)    and    TV(guided, p_c^w p_u^(1 - w) / Z)

    Args:
        field: the guided field, exact or learned.
        grid: for the densities at t_min; it must hold them.
        conditional, against: the exact fields of p_c and p_u; by default the parts of `field`.
        eta: the noise of sampling, as in `reverse`.
        n: particles of the cloud that is checked against the guided density.
        steps: of the density and of the cloud.
        rescaling: of the grid in time; by default its half-width is five times s(t).
        seed: of the cloud and of its verdict.
        refuse: as in `evolve`.

    Raises:
        TypeError: a part of the field is not exact, and no exact field is given for it.
        ValueError: the grid misses mass of the densities.
        SdeflowError: a diagnostic of the run is above `refuse`.

    Source: Bradley and Nakkiran 2024.
    """
    _check(field, grid, eta, rescaling, refuse)
    check_int(n, "n")
    check_seed(seed)
    wanted = _exact("conditional", conditional or field.conditional)
    other = _exact("against", against or field.against)
    guided = guided_density(field, grid, eta=eta, steps=steps, rescaling=rescaling, refuse=refuse)
    end = field.process.t_min
    true = wanted.density(grid, end)
    cloud = _guided_cloud(field, grid.dim, eta, n, steps, seed)
    intended = tilted(true, other.density(grid, end), field.scale)
    verdict = check_density(cloud, guided, seed=seed)
    return GuidedLaw(field.scale, guided, true, intended, cloud, verdict)


def guided_density(
    field: GuidedField,
    grid: Grid,
    *,
    eta: float = 0.0,
    steps: int = 200,
    rescaling: Rescaling | None = None,
    refuse: Diagnostics = REFUSE,
) -> Density:
    """The density of guided sampling at t_min, by `evolve`; arguments as in `guided_law`."""
    _check(field, grid, eta, rescaling, refuse)
    process = field.process
    rescaling = fitted_rescaling(grid, process, process.t_min) if rescaling is None else rescaling
    wide = grid.scaled(rescaling(process.t_max) / rescaling(process.t_min))
    start, sde = prior_density(wide, process), reverse(field, eta)
    return evolve(sde, start, ends(process), steps=steps, rescaling=rescaling, refuse=refuse)[-1]


def _check(
    field: GuidedField, grid: Grid, eta: float, rescaling: Rescaling | None, refuse: Diagnostics
) -> None:
    check_kind(field, GuidedField, "field")
    check_kind(grid, Grid, "grid")
    if field.dim not in (None, grid.dim):
        raise ValueError(f"grid must have the field's dimension {field.dim}, got {grid.dim}")
    check_positive(eta, "eta", zero=True)
    check_rescaling(rescaling)
    check_refuse(refuse)


def _guided_cloud(
    field: GuidedField, dim: int, eta: float, n: int, steps: int, seed: int
) -> Tensor:
    """n guided particles (n, dim) at the last time, from the same prior."""
    process = field.process
    x = process.prior(n, dim, seed, torch.float64)
    # Of orders 3/2 and 4, so that the error of the steps is negligible; rk4 needs fewer steps.
    solver = (
        SDESolver("srk", times=log_snr_times(process, steps), seed=seed)
        if eta
        else ODESolver("rk4", times=log_snr_times(process, max(1, steps // 4)))
    )
    return solver.solve(reverse(field, eta), x, 1).x[-1]


def tilted(conditional: Density, against: Density, scale: float) -> Density:
    r"""The density p_c^w p_u^(1 - w) / Z, w = `scale`, from p_c and p_u on one grid.

    For p_c = p(x | c) and p_u = p(x) it is p(x) p(c | x)^w / Z. The masses are of second order in
    the cell width; the difference to cells twice as wide gives `error`.

    Raises:
        ValueError: the grids differ.
    """
    check_kind(conditional, Density, "conditional")
    check_kind(against, Density, "against")
    check_finite(scale, "scale")
    if not conditional.grid.same(against.grid):
        raise ValueError("the two densities are on different grids; use one grid for both")
    error = None
    if not any(n % 2 for n in conditional.grid.shape):
        fine = _tilted(conditional, against, scale).coarsen()
        rough = _tilted(conditional.coarsen(), against.coarsen(), scale)
        error = fine.total_variation(rough) / 3
    out = _tilted(conditional, against, scale)
    return Density(out.grid, out.mass, error)


def _tilted(conditional: Density, against: Density, scale: float) -> Density:
    c, u = conditional.mass, against.mass
    # Where p_c is zero the product is zero, whatever p_u is. A mass of p_u below rounding may be
    # wrong by any factor, and a power of p_c / p_u would then outweigh all other cells.
    least = torch.finfo(u.dtype).eps * float(u.sum())
    log = scale * torch.log(c) + (1 - scale) * torch.log(u.clamp_min(least))
    mass = torch.exp(torch.where(c > 0, log, -torch.inf) - log[c > 0].max())
    return Density(conditional.grid, mass / mass.sum())


def smallest_set(density: Density) -> Tensor:
    """The fewest cells that hold 95 % of a density's mass, as a mask of its shape."""
    mass = density.mass.reshape(-1)
    rank = torch.argsort(mass, descending=True, stable=True)
    before = torch.cumsum(mass[rank], 0) - mass[rank]
    inside = torch.zeros_like(mass, dtype=torch.bool)
    inside[rank] = before < HELD * mass.sum()
    return inside.reshape(density.mass.shape)


def _exact(name: str, part: object) -> ExactField:
    if not isinstance(part, ExactField):
        raise TypeError(
            f"the exact field of `{name}` is not known, since {type(part).__name__} is not exact; "
            f"give {name}=ExactField(process, distribution)"
        )
    return part


def _between(p: Density, q: Density) -> tuple[float, float]:
    return p.total_variation(q), (p.error or 0.0) + (q.error or 0.0)
