"""Damage the bytes of a file: flip a bit, cut it, repeat, overwrite or insert bytes."""

from hypothesis import strategies as st

Damage = tuple[str, float, float, bytes]
"""What to do, where it begins and ends as shares of the file, and bytes to put there."""


def damages() -> st.SearchStrategy[list[Damage]]:
    """One to three ways of damage."""
    share = st.floats(0.0, 1.0)
    kind = st.sampled_from(["flip"] * 3 + ["cut", "drop", "zero", "put", "insert", "twice"])
    one = st.tuples(kind, share, share, st.binary(min_size=1, max_size=8))
    return st.lists(one, min_size=1, max_size=3)


def damaged(data: bytes, how: list[Damage]) -> bytes:
    """The bytes after the damage."""
    for what, begin, end, put in how:
        a, b = sorted((int(begin * len(data)), int(end * len(data))))
        match what:
            case "flip" if data:
                at = min(a, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ 1 << put[0] % 8]) + data[at + 1 :]
            case "cut":
                data = data[:a]
            case "drop":
                data = data[:a] + data[b:]
            case "zero":
                data = data[:a] + bytes(b - a) + data[b:]
            case "put":
                data = data[:a] + put + data[a + len(put) :]
            case "insert":
                data = data[:a] + put + data[a:]
            case "twice":
                data = data[:b] + data[a:b] + data[b:]
    return data
