r"""The density of one point, along the probability flow.

Particles that follow dx = v dt carry their density with them,

    d/dt ln p_t(x_t) = -div v(x_t, t),

so a point's log density is that of the place where the flow takes it at t_max, plus the divergence
it met on the way (Chen et al. 2018, eq. 8; Song et al. 2021, eq. 39). The integral is one more
column of the cloud, moved by the same solver under the same error control.

The divergence is exact by default: d reverse passes, as many as space has directions. Hutchinson's
estimate z . (dv/dx) z, one pass a probe, pays in high dimension; it is noisy, and says how noisy.

What is computed is the density at t_min of the flow that starts from the prior: the prior's error
and the field's are in it, as they are in the particles.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_int
from sdeflow.fields.field import Field
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.sde import SDE
from sdeflow.solvers.ode_solver import ODESolver

LogDensity = Callable[[Tensor], Tensor]

CHUNK = 4096  # particles differentiated at once: what autograd keeps stays small


def encode(field: Field, x: Tensor, solver: ODESolver) -> Tensor:
    """Follow the flow from x (n, d) at t_min to its place at t_max, (n, d).

    Raises:
        TypeError, ValueError, SdeflowError: as `ODESolver.solve`.

    Source: Song et al. 2021, section 4.3.
    """
    return solver.solve(_upwards(reverse(field, 0.0)), x, save=1).x[-1]


def decode(field: Field, x: Tensor, solver: ODESolver) -> Tensor:
    """Follow the flow from x (n, d) at t_max to its place at t_min, (n, d): `encode` undone.

    Raises:
        TypeError, ValueError, SdeflowError: as `ODESolver.solve`.

    Source: Song et al. 2021, section 4.3.
    """
    return solver.solve(reverse(field, 0.0), x, save=1).x[-1]


def log_likelihood(
    field: Field, x: Tensor, solver: ODESolver, prior: LogDensity | None = None
) -> Tensor:
    r"""ln p(x) = ln p_{t_max}(x_{t_max}) + int div v dt along the flow through x at t_min, (n,).

    Args:
        x: (n, d), at t_min. solver: of the flow; its tolerance is that of the result.
        prior: log density (n, d) -> (n,) at t_max; by default N(0, sigma(t_max)^2 I), the law from
            which samplers start.

    Raises:
        TypeError, ValueError, SdeflowError: as `ODESolver.solve`; a prior that does not return
            (n,).

    Source: Chen et al. 2018, eq. 8; Song et al. 2021, eq. 39.
    """
    return _along(field, x, solver, prior, _exact_trace, 1)[:, 0]


def hutchinson_log_likelihood(
    field: Field,
    x: Tensor,
    solver: ODESolver,
    probes: int,
    seed: int = 0,
    prior: LogDensity | None = None,
) -> tuple[Tensor, Tensor]:
    r"""`log_likelihood` with div v = E[z . (dv/dx) z], z = +-1: estimate and standard error, (n,).

    Each of `probes` probes is kept along the whole path, so that they are independent estimates.

    Raises:
        ValueError: fewer than two probes (one has no error); else as `log_likelihood`.

    Source: Hutchinson 1990; Grathwohl et al. 2019, eq. 8.
    """
    m = check_int(probes, "probes", 2)
    check_cloud(x, dim=field.dim)
    signs = random_generator(check_int(seed, "seed", 0), Stream.PROBE).integers(
        0, 2, (*x.shape, m)
    )
    z = torch.from_numpy(2.0 * signs - 1.0).to(x)

    def trace(velocity: Tensor, at: Tensor, rows: slice) -> Tensor:
        each = z[rows]
        return torch.stack(
            [(_pull(velocity, at, each[..., j]) * each[..., j]).sum(1) for j in range(m)], 1
        )

    all_of_them = _along(field, x, solver, prior, trace, m)
    return all_of_them.mean(1), all_of_them.std(1) / math.sqrt(m)


def _upwards(law: SDE) -> SDE:
    """The flow from t_min to t_max: the same drift, run the other way."""
    return SDE(law.drift, None, law.t_end, law.t_start, time_grid=lambda k: law.times(k).flip(0))


def _pull(velocity: Tensor, at: Tensor, z: Tensor) -> Tensor:
    """(dv/dx)^T z per particle, (n, d)."""
    return torch.autograd.grad(velocity, at, z, retain_graph=True)[0]


def _exact_trace(velocity: Tensor, at: Tensor, rows: slice) -> Tensor:
    """sum_i dv_i / dx_i, (n, 1)."""
    unit = torch.eye(at.shape[1], dtype=at.dtype, device=at.device)
    parts = [_pull(velocity, at, e.expand_as(at))[:, i] for i, e in enumerate(unit)]
    return torch.stack(parts).sum(0)[:, None]


def _along(
    field: Field,
    x: Tensor,
    solver: ODESolver,
    prior: LogDensity | None,
    trace: Callable[[Tensor, Tensor, slice], Tensor],
    columns: int,
) -> Tensor:
    """ln p (n, columns), one for each column of `trace`."""
    n, d = check_cloud(x, dim=field.dim).shape
    if prior is not None:
        size = prior(x)
        if not isinstance(size, Tensor) or size.shape != (n,):
            got = tuple(size.shape) if isinstance(size, Tensor) else type(size).__name__
            raise ValueError(
                f"the prior returned {got} for a cloud of shape {(n, d)}; it must return one log "
                "density per particle, (n,)"
            )
    flow = _upwards(reverse(field, 0.0))

    def drift(y: Tensor, t: Tensor) -> Tensor:
        out = torch.empty_like(y)
        for start in range(0, n, CHUNK):
            rows = slice(start, start + CHUNK)
            with torch.enable_grad():
                at = y[rows, :d].detach().requires_grad_()
                velocity = flow.drift(at, t)
                out[rows, d:] = trace(velocity, at, rows)
            out[rows, :d] = velocity.detach()
        return out

    both = SDE(drift, None, flow.t_start, flow.t_end, time_grid=flow.time_grid)
    start = torch.cat([x, x.new_zeros(n, columns)], 1)
    end = solver.solve(both, start, save=1).x[-1]
    if prior is None:
        p = field.process
        sigma = float(p(torch.tensor(p.t_max, dtype=torch.float64)).sigma)
        square = (end[:, :d] ** 2).sum(1) / sigma**2
        arrived = -(square + d * math.log(2 * math.pi * sigma**2)) / 2
    else:
        arrived = prior(end[:, :d])
    return arrived[:, None] + end[:, d:]
