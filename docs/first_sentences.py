"""Print the first sentence of every docstring and every error message on one page of Markdown.

    python docs/first_sentences.py                                        # sdeflow
    python docs/first_sentences.py sdeflow/sdes benchmarks figures        # folders or files
    python docs/first_sentences.py > /tmp/page.md

Nothing is imported: the sources are parsed. Docstrings are those of modules, public classes,
functions and methods; messages are those of `raise` and `warn`, with {} where a value is put in.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENDS = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bal)(?<!\beqs)(?<!\beq)(?<!\bvs)[.?!](?=\s|$)")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def first_sentence(text: str) -> str:
    """The text up to its first full stop, question mark, or empty line."""
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    end = ENDS.search(paragraph)
    return paragraph[: end.end()] if end else paragraph


def documented(node: ast.AST, name: str = "") -> Iterator[tuple[int, str, str]]:
    """Line, name and docstring of a module and of what is public in it."""
    text = ast.get_docstring(node)
    if text:
        yield getattr(node, "lineno", 1), name, text
    for child in getattr(node, "body", []):
        public = isinstance(child, (*FUNCTIONS, ast.ClassDef)) and child.name[0] != "_"
        if public and not isinstance(node, FUNCTIONS):
            yield from documented(child, f"{name}.{child.name}".lstrip("."))


def spelt(node: ast.AST, names: dict[str, ast.AST]) -> str:
    """A message as it is written, with the values that are put in between braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(spelt(part, names) for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name)) if name in names:
            return spelt(names[name], {})
        case ast.FormattedValue(value=value):
            return "{" + ast.unparse(value) + "}"
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return spelt(left, names) + spelt(right, names)
        case ast.Name(id=name) if name in names:
            return spelt(names[name], {})
        case ast.IfExp(body=body, orelse=other):
            return f"{spelt(body, names)} | {spelt(other, names)}"
    return "{" + ast.unparse(node) + "}"


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every error raised and every warning given."""
    for function in (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)):
        names = {
            node.targets[0].id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            if isinstance(node.value, ast.Constant | ast.JoinedStr | ast.BinOp | ast.IfExp)
        }
        for node in ast.walk(function):
            match node:
                case ast.Raise(exc=ast.Call(args=[text, *_])):
                    yield node.lineno, spelt(text, names)
                case ast.Call(func=ast.Attribute(attr="warn"), args=[text, *_]):
                    yield node.lineno, spelt(text, names)


def page(file: Path) -> Iterator[str]:
    """The lines of Markdown for one source file."""
    path = file.resolve().relative_to(ROOT).as_posix()
    tree = ast.parse(file.read_text("utf-8"))
    yield f"\n## {path}\n"
    for line, name, text in documented(tree):
        yield f"- {line}: " + (f"`{name}`: " if name else "") + first_sentence(text)
    told = sorted(set(messages(tree)))
    if told:
        yield "\nMessages:\n"
    for line, text in told:
        yield f"- {line}: {' '.join(text.split())}"


def main(folders: list[str]) -> None:
    """Print the page of the Python files in these folders, in the order of their names."""
    print("# First sentences and messages")
    for folder in folders or ["sdeflow"]:
        where = ROOT / folder
        for file in sorted(where.rglob("*.py")) if where.is_dir() else [where]:
            print("\n".join(page(file)))


if __name__ == "__main__":
    main(sys.argv[1:])
