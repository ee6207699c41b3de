"""Score, log density and flow agree: the velocity carries the density.

Says: three routes, "score, negative log, flow", with "u_t, phi_t, p_t" (002, in our words).
Measured: the continuity equation, d ln p / dt + v . grad ln p + div v = 0, is evaluated at points
of the path; zero means that particles which follow v have the density p at every time.
Control: the drift of the reverse SDE (eta = 1), which carries the density only together with its
noise.
Source: derivatives by autograd, at five times on the checkerboard.
"""

from __future__ import annotations

import torch

from benchmarks.claims.claim import Check, Finding, Lab, at_most
from benchmarks.claims.flow_matching import EXACT, SQUARES, normals_of, scalar
from benchmarks.claims.measures import largest
from benchmarks.claims.setting import CHECKERBOARD, FLOW, exact_on_checkerboard
from sdeflow.analysis.likelihood import log_likelihood
from sdeflow.processes.schedules import Linear
from sdeflow.sdes.generative import reverse
from sdeflow.solvers.ode_solver import ODESolver

SUBJECT, CONTROL = 0.0, 1.0  # eta of the reverse SDE whose drift carries the density


def _residues(lab: Lab, eta: float) -> tuple[float, float, float]:
    """Largest residue of the continuity equation, difference of the scores, and |d ln p / dt|."""
    found = []
    sde, data = reverse(EXACT, eta), CHECKERBOARD.sample(200, lab.seed, torch.float64)
    for t in (0.1, 0.3, 0.5, 0.7, 0.9):
        x = FLOW.perturb(data, scalar(t), normals_of(lab, 200)).requires_grad_()
        when = torch.full((200,), t, dtype=torch.float64, requires_grad=True)
        c = FLOW(when)
        log_p = SQUARES.log_prob(x, c.alpha, c.sigma)
        slope, rate = torch.autograd.grad(log_p.sum(), (x, when))
        v = sde.drift(x, scalar(t))
        rows = [torch.autograd.grad(v[:, i].sum(), x, retain_graph=True)[0][:, i] for i in (0, 1)]
        left = rate + (v.detach() * slope).sum(1) + rows[0] + rows[1]
        found.append((left, slope - EXACT.score(x.detach(), t), rate))
    residue, score, size = (
        largest(float(v.abs().max()) for v in row) for row in zip(*found, strict=True)
    )
    return residue, score, size


def measure(lab: Lab, eta: float) -> Finding:
    """The continuity equation at points of the path, and ln p integrated along the flow."""
    residue, score, size = _residues(lab, eta)
    some, data = (
        exact_on_checkerboard(Linear(t_min=0.1)),
        CHECKERBOARD.sample(200, lab.seed, torch.float64),
    )
    x = some.process.perturb(data[:50], scalar(0.1), normals_of(lab, 50))
    carried = log_likelihood(some, x, ODESolver(), lambda z: some.log_prob(z, some.process.t_max))
    return Finding(
        [
            Check(
                "largest d ln p / dt + v . grad ln p + div v, over the largest |d ln p / dt|",
                residue / size,
                at_most(1e-9),
                "rounding",
            ),
            Check(
                "largest difference between score and grad ln p, over the largest |d ln p / dt|",
                score / size,
                at_most(1e-9),
                "rounding",
            ),
        ],
        notes={
            "largest |d ln p / dt|": size,
            "largest difference between ln p and its integral along the flow, at 1e-5": float(
                (carried - some.log_prob(x, 0.1)).abs().max()
            ),
        },
    )
