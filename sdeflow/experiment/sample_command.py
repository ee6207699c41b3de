"""Draw samples with a trained run: the part of the command behind `sdeflow sample`."""

from __future__ import annotations

import sys
from typing import Any

import sdeflow.experiment as experiment
from sdeflow._validation import check_int
from sdeflow.experiment.classes import Guidance
from sdeflow.experiment.problem import ALL, Problem
from sdeflow.experiment.unclip_command import prompted


def drawn(asked: Any) -> None:
    """Print the file of the cloud and, to stderr, which fitted steps were used."""
    if asked.prompt or experiment.folder.is_words(asked.folder):
        return print(prompted(asked))
    if asked.against is not None:
        raise ValueError("--against is a text, for a run of `sdeflow unclip`; leave it out")
    run, samplers, progress = experiment.run, experiment.samplers, sys.stderr.isatty()
    built = run.reopen(asked.folder)
    fits = asked.method == samplers.CALIBRATED
    which = _class(asked, bool(built.classes), fits)
    eta = samplers.default_eta(asked.method) if asked.eta is None else asked.eta
    written = run.sample(
        asked.folder, 10_000 if asked.n is None else check_int(asked.n, "n"),
        samplers.choose_solver(asked.method, asked.steps, eta, asked.seed), eta,
        seed=asked.seed, label=which, guidance=_guidance(asked, fits),
        save=_states(asked, built), progress=progress, out=asked.out, overwrite=asked.overwrite,
        motion=samplers.choose_motion(asked.folder, asked.method, asked.steps, built, which),
    )  # fmt: skip
    if fits:
        fitted = samplers.fitted_steps(asked.folder, asked.steps, built, which)
        print("sdeflow:", fitted, file=sys.stderr)  # stdout holds the file name alone
    if asked.film is not None:
        cloud = None if asked.out is None else asked.out.with_suffix(".npz")
        experiment.films.film_cloud(asked.folder, asked.film, which, progress, cloud)
    print(written)


def _class(asked: Any, classes: bool, fits: bool) -> str | None:
    """The class asked for; by default all, but none for steps fitted to the whole cloud."""
    if fits and asked.which == ALL:
        raise ValueError(
            "steps are fitted to one class or to the whole cloud; name one class, or none"
        )
    return ALL if asked.which is None and classes and not fits else asked.which


def _guidance(asked: Any, fits: bool) -> Guidance:
    scale = 1.0 if asked.scale is None else asked.scale
    if fits and scale != 1:
        raise ValueError("steps are fitted without guidance; leave out the scale")
    return Guidance(scale, asked.interval)


def _states(asked: Any, built: Problem) -> int:
    """The number of states to keep; a film needs all of them."""
    if asked.film is None:
        return 2 if asked.save is None else asked.save
    experiment.films.check(asked.film)
    built.check_plane("a film")
    if asked.save == 1:
        raise ValueError("a film needs two states or more; leave out --save")
    return asked.steps + 1 if asked.save is None else asked.save
