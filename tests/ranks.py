"""Run a function in several ranks of one job, as torchrun would, without a second import of torch.

A rank is a fork of the test, so that it costs 50 ms and not 3 s.
"""

import multiprocessing
import os
import socket
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest


def in_ranks(size: int, function: Callable[..., Any], *arguments: object) -> list[Any]:
    """The results of function(*arguments) in each rank; an error is a result too.

    Results travel by pickle: give plain values and numpy's arrays.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork a program")
    context = multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    ranks = [
        context.Process(target=_rank, args=(rank, size, port, pipes[rank][1], function, arguments))
        for rank in range(size)
    ]
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside other threads; torch's do not run during a test.
        warnings.simplefilter("ignore", DeprecationWarning)
        for rank in ranks:
            rank.start()
    for _, ours in pipes:
        ours.close()
    found = [_answer(theirs) for theirs, _ in pipes]
    for rank in ranks:
        rank.join()
    return found


def _answer(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return EOFError("the rank ended without an answer")


def _rank(
    rank: int, size: int, port: int, pipe: Connection, function: Callable[..., Any], arguments: Any
) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    try:
        found = function(*arguments)
    except BaseException as error:
        found = error
    pipe.send(found)
    pipe.close()
    os._exit(0)  # without the exit functions of the test that was forked
