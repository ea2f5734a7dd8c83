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
    older = described["typesVersions"]["*"]
    assert {f"./{name}": f"./{path}" for name, (path,) in older.items()} == {
        name: files["types"] for name, files in described["exports"].items() if name != "."
    }
    assert described["main"] == described["exports"]["."]["default"]
    assert described["types"] == described["exports"]["."]["types"]
    assert (PACKAGE / described["main"]).exists()
    assert (PACKAGE / described["types"]).exists()


def test_the_element_is_smaller_than_three_kilobytes(compiled_tests: Path) -> None:
    minified = subprocess.run(
        [PACKAGE / "node_modules/.bin/esbuild", PACKAGE / "dist/element.js", "--minify"],
        capture_output=True,
        check=True,
    ).stdout
    assert len(minified) < 3_000
    assert b"thumbq-thumbnail" in minified


def test_react_is_the_page_s_own(compiled_tests: Path) -> None:
    described = json.loads((PACKAGE / "package.json").read_text())
    assert "dependencies" not in described
    assert described["peerDependenciesMeta"] == {"react": {"optional": True}}
    importing = [file.name for file in (PACKAGE / "dist").rglob("*.js") if 'from "react"' in file.read_text()]
    assert importing == ["react.js"]


def test_a_server_that_draws_pages_can_import_the_element(compiled_tests: Path) -> None:
    script = 'const { ThumbnailElement } = await import("thumbq/element"); console.log(typeof ThumbnailElement);'
    command = ["node", "--input-type=module", "--eval", script]
    imported = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, check=True)
    assert imported.stdout == "function\n"


def test_a_project_installs_the_package_from_a_clone(compiled_tests: Path, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{ "private": true, "type": "module" }')
    install: list[str | Path] = ["npm", "install", "--offline", "--no-audit", "--install-links", PACKAGE]
    subprocess.run(install, cwd=tmp_path, capture_output=True, check=True)
    script = 'import { follow } from "thumbq"; import "thumbq/element"; console.log(typeof follow);'
    command = ["node", "--input-type=module", "--eval", script]
    imported = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert imported.stdout == "function\n"
    assert not (tmp_path / "node_modules" / "react").exists()
