r"""Compute the log likelihood of given points under a model, along its probability flow.

Along dx = v dt the log density of a particle changes at the rate

    d/dt ln p_t(x_t) = -div v(x_t, t)

(Chen et al. 2018, eq. 8; Song et al. 2021, eq. 39), so that ln p at t_min is ln p at t_max plus
the integral of div v. The solver integrates div v as one more coordinate of the cloud.
`log_likelihood` computes the divergence exactly, with d backward passes;
`hutchinson_log_likelihood` estimates it, with one backward pass per probe. The result is the
density of the flow from the prior: it contains the errors of prior and field, as samples do.
`encode` and `decode` follow the flow to the noise and back.
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
from sdeflow.fields.guided import GuidedField
from sdeflow.fields.learned import LearnedField
from sdeflow.random_streams import Stream, random_generator
from sdeflow.sdes.field_sde import FieldSDE
from sdeflow.sdes.generative import reverse
from sdeflow.sdes.multistep import MultistepSDE
from sdeflow.sdes.sde import SDE, time_tensor
from sdeflow.solvers.ode_solver import ODESolver

LogDensity = Callable[[Tensor], Tensor]
Trace = Callable[[Tensor, Tensor, slice], Tensor]
"""(velocity, x, which rows of the cloud they are) -> (rows, columns), estimates of div v."""

CHECKED = 256  # particles by which `_check_rows` judges the field
CHUNK = 4096  # particles differentiated at once, to bound the memory of autograd


def encode(field: Field | FieldSDE, x: Tensor, solver: ODESolver) -> Tensor:
    """Follow the probability flow from data x (n, d) at t_min to noise at t_max, (n, d).

        dx = v(x, t) dt,    v = alpha_dot x0_hat + sigma_dot eps_hat

    Args:
        field: gives the velocity v. An SDE of eta 0 gives also the steps that the solver takes:
            `encode(sf.multistep(field), x, sf.ODESolver("euler", 20))`.
        x: the data.
        solver: integrates the flow.

    Raises:
        ValueError: the SDE has noise, or its steps come from `calibrate`.

    Source: Song et al. 2021, section 4.3.
    """
    sde = _flow(field, x, solver)
    if isinstance(sde, MultistepSDE) and sde.fitted is not None:
        raise ValueError(
            "calibrated steps lead from noise to data only; encode with sf.multistep(field)"
        )
    return solver.solve(replace(sde, t_start=sde.t_end, t_end=sde.t_start), x, save=1).x[-1]


def decode(field: Field | FieldSDE, x: Tensor, solver: ODESolver) -> Tensor:
    """Follow the probability flow from noise x (n, d) at t_max to data at t_min, (n, d).

    It is the inverse of `encode`, within the error of the steps; arguments as there.

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
            f"the probability flow has no noise, and this SDE has eta {field.eta:g}; make it with "
            "eta=0.0"
        )
    return field


def _check(field: Field, x: Tensor, solver: ODESolver) -> None:
    check_kind(field, Field, "field")
    check_cloud(x, dim=field.dim)
    check_kind(solver, ODESolver, "solver", "give one, since the flow has no noise")


def log_likelihood(
    field: Field, x: Tensor, solver: ODESolver, prior: LogDensity | None = None
) -> Tensor:
    r"""The log density of a model at x, by its probability flow, (n,).

        ln p(x) = ln p_{t_max}(x_{t_max}) + int_{t_min}^{t_max} div v dt

    Args:
        field: gives the velocity v; with one label per particle, each has the density of its
            class.
        x: (n, d), at t_min.
        solver: integrates the flow; its tolerance is that of the result.
        prior: log density (n, d) -> (n,) at t_max; by default that of N(0, sigma(t_max)^2 I),
            which samplers start from. A field trained with another source needs it.

    Raises:
        ValueError: the field's answer for one particle depends on other particles.

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
    r"""An unbiased estimate of `log_likelihood` and its standard error, (n,) each.

        div v = E[z . (dv/dx) z],    z_i = +-1

    Args:
        field, x, solver, prior: as in `log_likelihood`.
        probes: how many vectors z, at least two. Each is kept along the whole path, so that the
            probes are independent estimates.
        seed: of the vectors z.

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
    n, d = x.shape
    _check_rows(_labelled(field, 0, n), x)
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
    end = solver.solve(_with_divergence(field, trace, n, d), start, save=1).x[-1]
    at_the_end = prior(end[:, :d])
    return at_the_end[:, None] + end[:, d:]


def _labelled(field: Field, rows: slice | int, n: int) -> Field:
    """The field of these rows of n particles, each with its label; one row gives it to all."""
    if isinstance(field, GuidedField):
        a, b = (_labelled(part, rows, n) for part in (field.conditional, field.against))
        return replace(field, conditional=a, against=b)
    if not isinstance(field, LearnedField) or field.label is None or not field.label.ndim:
        return field
    if len(field.label) != n:
        raise ValueError(
            f"there are {len(field.label)} labels for {n} particles; give one for each, or one "
            "for all"
        )
    return replace(field, label=field.label[rows])


def _check_rows(field: Field, x: Tensor) -> None:
    """Check, on some of the particles, that the velocity of each does not depend on the others."""
    flow = reverse(field, 0.0)
    when, some = time_tensor(flow.t_start, x), x[:CHECKED].detach()
    rows = torch.arange(len(some), device=x.device) % 2 == 0
    if depends_on_other_rows(lambda y: flow.drift(y, when), some, rows):
        raise ValueError(
            "the field's answer for a particle changes or fails without the others, so that no "
            "particle has a density of its own; call .eval() on its network, leave out layers "
            "that look across the batch, and bind labels by .given"
        )


def _with_divergence(field: Field, trace: Trace, n: int, d: int) -> SDE:
    """The flow from t_min to t_max of n rows (x, integrals of the columns of `trace`)."""
    down = reverse(field, 0.0)
    chunks = [slice(start, start + CHUNK) for start in range(0, n, CHUNK)]
    parts = [(rows, reverse(_labelled(field, rows, n), 0.0).drift) for rows in chunks]

    def drift(y: Tensor, t: Tensor) -> Tensor:
        out = torch.empty_like(y)
        for rows, velocity_of in parts:
            with torch.enable_grad():
                at = y[rows, :d].detach().requires_grad_()
                velocity = velocity_of(at, t)
                out[rows, d:] = trace(velocity, at, rows)
            out[rows, :d] = velocity.detach()
        return out

    return SDE(drift, None, down.t_end, down.t_start, time_grid=lambda k: down.times(k).flip(0))


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
