"""The package as npm would publish it."""

import json
import subprocess
from pathlib import Path

from tests.typescript.compiler import PACKAGE


def test_the_tarball_has_the_code_its_types_a_page_and_the_licence(compiled_tests: Path) -> None:
    packed = subprocess.run(
        ["npm", "pack", "--dry-run", "--json"], cwd=PACKAGE, capture_output=True, text=True, check=True
    )
    # The output of the scripts comes first.
    (tarball,) = json.loads(packed.stdout[packed.stdout.index("[") :])
    files = {file["path"] for file in tarball["files"]}
    assert {"README.md", "LICENSE", "package.json", "dist/index.js", "dist/index.d.ts"} <= files
    assert {file for file in files if not file.startswith("dist/")} == {"README.md", "LICENSE", "package.json"}


def test_compilers_that_do_not_read_exports_find_code_and_types(compiled_tests: Path) -> None:
    described = json.loads((PACKAGE / "package.json").read_text())
    assert described["main"] == described["exports"]["."]["default"]
    assert described["types"] == described["exports"]["."]["types"]
    assert (PACKAGE / described["main"]).exists()
    assert (PACKAGE / described["types"]).exists()
