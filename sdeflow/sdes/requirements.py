"""Check that an SDE has what a function needs: no memory, no diffusion matrix, no walls."""

from __future__ import annotations

from sdeflow.sdes.sde import SDE


def check_chain(sde: SDE, needs: str) -> None:
    """Check that an SDE has neither memory nor walls nor a diffusion matrix."""
    for check in (check_markov, check_no_walls, check_no_matrix):
        check(sde, needs)


def check_markov(sde: SDE, needs: str) -> None:
    """Check that a step depends on the last state only, which is needed for `needs`."""
    if sde.remembers:
        raise ValueError(
            f"{needs} needs steps that depend on the last state only, and {sde.name} remembers "
            "earlier ones; use reverse or ancestral"
        )


def check_no_matrix(sde: SDE, what: str) -> None:
    """Check that the diffusion is no matrix, for which `what` has no formula."""
    if sde.noises is not None:
        raise ValueError(
            f"{what} is not available for a diffusion matrix; use SDESolver, or turn the axes so "
            "that each has a noise of its own"
        )


def check_no_walls(sde: SDE, what: str) -> None:
    """Check that an SDE has no walls, for which `what` has no formula."""
    if sde.walls is not None:
        raise ValueError(
            f"{what} does not allow for walls; take them off by dataclasses.replace(sde, "
            "walls=None), or use SDESolver('euler') or evolve"
        )
