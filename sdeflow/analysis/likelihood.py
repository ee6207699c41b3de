r"""Compute the model's density at given points, along the probability flow.

Along dx = v dt the log density of a particle changes at the rate

    d/dt ln p_t(x_t) = -div v(x_t, t)

(Chen et al. 2018, eq. 8; Song et al. 2021, eq. 39), so that ln p at t_min is ln p at t_max plus
the integral of div v. The solver integrates it as one more coordinate of the cloud.
`log_likelihood` takes the divergence exactly, with d backward passes;
`hutchinson_log_likelihood` estimates it, with one backward pass per probe. The result is the
density of the flow from the prior: it contains the errors of prior and field, as samples do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sdeflow._validation import check_cloud, check_function, check_int, check_kind, check_seed
from sdeflow.analysis.coupling import depends_on_other_rows
from sdeflow.fields.field import Field, Pairs
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.multistep import MultistepSDE
from sdeflow.sdes.sde import SDE, time_tensor
from sdeflow.solvers.ode_solver import ODESolver

LogDensity = Callable[[Tensor], Tensor]
Trace = Callable[[Tensor, Tensor, slice], Tensor]
"""(velocity, x, rows of the cloud) -> (rows, columns), estimates of div v."""

CHECKED = 256  # particles on which the independence of the others is checked
CHUNK = 4096  # particles differentiated at once, to bound the memory of autograd


def encode(field: Field | FieldSDE, x: Tensor, solver: ODESolver) -> Tensor:
    """Follow the probability flow from x (n, d) at t_min to its end at t_max, (n, d).

    Args:
        field: whose flow it is; or an SDE of eta 0 whose steps are to be taken, as in
            `encode(sf.multistep(field), x, sf.ODESolver("euler", 20))`.
        x: (n, d).
        solver: of the flow.

    Raises:
        ValueError: the SDE has noise, or its steps were fitted to the way from noise to data.

    Source: Song et al. 2021, section 4.3.
    """
    sde = _flow(field, x, solver)
    if isinstance(sde, MultistepSDE) and sde.fitted is not None:
        raise ValueError(
            "fitted steps lead from noise to data only; encode with sf.multistep(field)"
        )
    return solver.solve(replace(sde, t_start=sde.t_end, t_end=sde.t_start), x, save=1).x[-1]


def decode(field: Field | FieldSDE, x: Tensor, solver: ODESolver) -> Tensor:
    """Follow the probability flow from x (n, d) at t_max to its end at t_min, (n, d).

    It is the inverse of `encode`, within the error of the steps.

    Source: Song et al. 2021, section 4.3.
    """
    sde = _flow(field, x, solver)
    return solver.solve(sde, x, save=1).x[-1]


def _flow(field: Field | FieldSDE, x: Tensor, solver: ODESolver) -> SDE:
    """The probability flow from t_max to t_min."""
    if not isinstance(field, FieldSDE):
        _check(field, x, solver)
        return reverse(field, 0.0)
    _check(field.field, x, solver)
    if field.eta:
        raise ValueError(
            f"the probability flow has no noise, this SDE has eta {field.eta:g}; make it with "
            "eta=0.0"
        )
    return field


def _check(field: Field, x: Tensor, solver: ODESolver) -> None:
    check_kind(field, Field, "field")
    check_cloud(x, dim=field.dim)
    check_kind(solver, ODESolver, "solver", "the probability flow has no noise")


def log_likelihood(
    field: Field, x: Tensor, solver: ODESolver, prior: LogDensity | None = None
) -> Tensor:
    r"""The log density of the flow at x, (n,).

        ln p(x) = ln p_{t_max}(x_{t_max}) + int_{t_min}^{t_max} div v dt

    Args:
        field: whose flow it is.
        x: (n, d), at t_min.
        solver: of the flow; its tolerance is that of the result.
        prior: log density (n, d) -> (n,) at t_max; by default that of N(0, sigma(t_max)^2 I),
            which samplers start from; a field with a source of its own needs one.

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
    r"""An estimate of `log_likelihood` and its standard error, (n,) each.

        div v = E[z . (dv/dx) z],    z_i = +-1

    Each probe z is kept along the whole path, so that the probes are independent estimates. Two
    probes are the fewest that have an error.

    Source: Hutchinson 1990; Grathwohl et al. 2019, eq. 8.
    """
    m = check_int(probes, "probes", 2)
    _check(field, x, solver)
    signs = random_generator(check_seed(seed), Stream.PROBE).integers(0, 2, (*x.shape, m))
    z = torch.from_numpy(2.0 * signs - 1.0).to(x)

    def trace(velocity: Tensor, at: Tensor, rows: slice) -> Tensor:
        each = z[rows]
        return torch.stack(
            [(_row_product(velocity, at, each[..., j]) * each[..., j]).sum(1) for j in range(m)], 1
        )

    estimates = _along(field, x, solver, prior, trace, m)
    return estimates.mean(1), estimates.std(1) / math.sqrt(m)


def _upwards(sde: SDE) -> SDE:
    """The flow from t_min to t_max: the same drift, run the other way."""
    return SDE(sde.drift, None, sde.t_end, sde.t_start, time_grid=lambda k: sde.times(k).flip(0))


def _row_product(velocity: Tensor, at: Tensor, z: Tensor) -> Tensor:
    """(dv/dx)^T z per particle, (n, d)."""
    return torch.autograd.grad(velocity, at, z, retain_graph=True)[0]


def _exact_trace(velocity: Tensor, at: Tensor, rows: slice) -> Tensor:
    """sum_i dv_i / dx_i, (n, 1)."""
    unit = torch.eye(at.shape[1], dtype=at.dtype, device=at.device)
    parts = [_row_product(velocity, at, e.expand_as(at))[:, i] for i, e in enumerate(unit)]
    return torch.stack(parts).sum(0)[:, None]


def _along(
    field: Field,
    x: Tensor,
    solver: ODESolver,
    prior: LogDensity | None,
    trace: Trace,
    columns: int,
) -> Tensor:
    """ln p (n, columns), one for each column of `trace`."""
    _check(field, x, solver)
    _check_rows(field, x)
    n, d = x.shape
    if prior is not None:
        check_function(prior, "prior", "(n, d) -> (n,), a log density")
        size = prior(x)
        if not isinstance(size, Tensor) or size.shape != (n,):
            got = tuple(size.shape) if isinstance(size, Tensor) else type(size).__name__
            raise ValueError(
                f"the prior returned {got} for a cloud of shape {(n, d)}; it must return one log "
                "density per particle, (n,)"
            )
    prior = prior or _default_prior(field)
    start = torch.cat([x, x.new_zeros(n, columns)], 1)
    end = solver.solve(_with_divergence(field, trace, d), start, save=1).x[-1]
    at_the_end = prior(end[:, :d])
    return at_the_end[:, None] + end[:, d:]


def _check_rows(field: Field, x: Tensor) -> None:
    """Check, on some of the particles, that the flow moves each of them for itself.

    Raises:
        ValueError: it does not, so that the density of a particle is not defined.
    """
    flow = reverse(field, 0.0)
    when, some = time_tensor(flow.t_start, x), x[:CHECKED].detach()
    rows = torch.arange(len(some), device=x.device) % 2 == 0
    if depends_on_other_rows(lambda y: flow.drift(y, when), some, rows):
        raise ValueError(
            "the field's answer for one particle depends on the others, so that a particle has no "
            "density of its own; call .eval() on its network, and leave out layers that look "
            "across the batch"
        )


def _with_divergence(field: Field, trace: Trace, d: int) -> SDE:
    """The flow from t_min to t_max of (x, integrals of the columns of `trace`)."""
    flow = _upwards(reverse(field, 0.0))

    def drift(y: Tensor, t: Tensor) -> Tensor:
        out = torch.empty_like(y)
        for start in range(0, len(y), CHUNK):
            rows = slice(start, start + CHUNK)
            with torch.enable_grad():
                at = y[rows, :d].detach().requires_grad_()
                velocity = flow.drift(at, t)
                out[rows, d:] = trace(velocity, at, rows)
            out[rows, :d] = velocity.detach()
        return out

    return SDE(drift, None, flow.t_start, flow.t_end, time_grid=flow.time_grid)


def _default_prior(field: Field) -> LogDensity:
    """ln N(x; 0, sigma(t_max)^2 I)."""
    if field.pairs is Pairs.SOURCED:
        raise ValueError(
            "the flow of this field does not start from Gaussian noise; give prior=, the log "
            "density of the source at t_max"
        )
    process = field.process
    sigma = float(process(process.t_max).sigma)

    def log_prob(x: Tensor) -> Tensor:
        square = ((x / sigma) ** 2).sum(1)
        return -(square + x.shape[1] * (math.log(2 * math.pi) + 2 * math.log(sigma))) / 2

    return log_prob
