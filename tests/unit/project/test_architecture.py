"""The listing in docs/architecture.md names every module of the tree, and the page names no other."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs" / "architecture.md").read_text()
LISTING = PAGE.partition("\n## The listing\n")[2].partition("```\n")[2].partition("```")[0]
PYTHON = (
    *(PROJECT / "server").glob("thumbq_*"),
    PROJECT / "gateway/thumbq_gateway",
    PROJECT / "clients/python/thumbq",
)
# Generated code, files for browsers, and migrations: the folder stands for its files.
OPAQUE = {"v1", "static", "versions"}
INDENT = 4


def test_the_listing_names_every_module_and_nothing_else():
    listed, existing = in_listing(), in_tree()
    assert len(listed) == len(set(listed))
    assert sorted(existing - set(listed)) == []
    assert sorted(set(listed) - existing) == []


def test_every_line_of_the_listing_says_what_is_there():
    lines = [line for line in LISTING.splitlines() if not re.match(r" *\S+ {2,}\S", line)]
    assert [line.strip() for line in lines] == ["env", "versions/"]


def test_the_text_names_only_modules_that_exist():
    names = {name.strip("/") for name in in_tree()}
    text = PAGE.replace(LISTING, "")
    mentioned = re.findall(r"`(\w+(?:/\w+)+)`", text)
    assert len(mentioned) > 20
    assert [path for path in mentioned if not any(f"/{name}".endswith(f"/{path}") for name in names)] == []


def in_listing() -> list[str]:
    """Return the paths of the listing; packages end with a slash."""
    paths, folders = [], [""]
    for line in LISTING.splitlines():
        depth = (len(line) - len(line.lstrip())) // INDENT
        path = folders[depth] + line.split()[0]
        paths.append(path)
        folders = [*folders[: depth + 1], path]
    return paths


def in_tree() -> set[str]:
    """Return the packages and modules of the project, in the form of the listing."""
    modules = {*(module for root in PYTHON for module in modules_below(root, "*.py"))}
    return modules | set(modules_below(PROJECT / "clients/typescript/src", "*.ts"))


def modules_below(root: Path, pattern: str) -> list[str]:
    found = {root, *(path for path in root.rglob(pattern) if not path.stem.startswith("__"))}
    found |= {
        folder for path in root.rglob("*.*") if path.is_file() for folder in path.parents if folder.is_relative_to(root)
    }
    return [
        f"{path.relative_to(PROJECT)}/" if path.is_dir() else str(path.relative_to(PROJECT).with_suffix(""))
        for path in found
        if path.name != "__pycache__" and not OPAQUE.intersection(path.relative_to(root).parts[:-1])
    ]
