import importlib.metadata
import json
from pathlib import Path

import pytest

from bench.reporting import plot, report
from bench.reporting.results import RATIOS, Entrant, Results, take_turns
from bench.subjects import contenders

OURS, THEIRS = ("thumbq", "1 worker"), ("PgQueuer", "2 workers")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path, fresh=True)


async def test_entrants_take_turns_and_one_that_fails_twice_is_left_out(results: Results):
    part, seen = results.part("drain"), []

    async def ours():
        seen.append("ours")
        return {"jobs_per_s": 20.0 + len(seen)}

    async def theirs():
        seen.append("theirs")
        if len(seen) in {2, 6}:
            raise RuntimeError("it is gone")
        return {"jobs_per_s": 10.0}

    await take_turns(results, part, [Entrant(*OURS, ours), Entrant(*THEIRS, theirs)], runs=4)
    assert seen == ["ours", "theirs"] * 3 + ["ours"]
    assert part.problems == {THEIRS: ["it is gone", "it is gone"]}
    # Both were measured in the second turn only.
    assert part.ratio(OURS, THEIRS, "jobs_per_s") == [2.3]


def test_a_fresh_run_forgets_ratios_and_a_partial_one_keeps_them(results: Results, tmp_path: Path):
    results.ratio("drain_vs_pgqueuer", [2.0, 1.9, 2.3])
    kept = (tmp_path / "ratios.json").read_text()
    assert '"drain_vs_pgqueuer": 2.0' in kept
    Results(tmp_path, fresh=False)
    assert (tmp_path / "ratios.json").read_text() == kept
    Results(tmp_path, fresh=True)
    assert '"drain_vs_pgqueuer": null' in (tmp_path / "ratios.json").read_text()


def test_a_part_replaces_what_stands_between_its_markers(results: Results, tmp_path: Path, monkeypatch):
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- drain: written by make bench-full -->\nold\n<!-- drain ends -->\nafter\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "IMAGES", tmp_path)
    part = results.part("drain")
    for part.turn, rate in enumerate((90.0, 110.0, 100.0)):
        results.record(part, OURS, {"jobs_per_s": rate})
    results.fail(part, THEIRS, "not installed")
    part.noise.end()
    report.write_part(part, "--full")
    text = page.read_text()
    assert text.startswith("before\n<!-- drain")
    assert text.endswith("<!-- drain ends -->\nafter\n")
    assert "old" not in text
    assert "100 (90.0–110)" in text
    assert "not installed" in text
    assert (tmp_path / "performance-drain.svg").exists()


def test_the_page_has_every_ratio_with_its_target_and_the_runs_it_is_the_median_of(
    results: Results, tmp_path: Path, monkeypatch
):
    # The committed page has the same rows, with the same targets.
    committed = report.PAGE.read_text()
    for name, target in RATIOS.items():
        assert f"| `{name}` | {target.floor} | {target.moonshot} | " in committed
    page = tmp_path / "performance.md"
    page.write_text("<!-- ratios: written by make bench-full -->\n<!-- ratios ends -->\n")
    monkeypatch.setattr(report, "PAGE", page)
    results.ratio("drain_vs_graphile", [1.9, 2.2, 2.05])
    results.ratio("wal_bytes_per_job", [790.2])
    report.write_ratios(results)
    lines = page.read_text().splitlines()
    assert "| `drain_vs_graphile` | ≥ 1.7 | 2.1 | 2.05 | 1.90, 2.20, 2.05 |" in lines
    assert "| `wal_bytes_per_job` | ≤ 800 | 740 | 790 | 790 |" in lines
    assert "| `json_vs_proxy` | ≥ 2.5 | 4 | not measured | |" in lines
    assert list(json.loads((tmp_path / "ratios.json").read_text())) == list(RATIOS)


def test_a_chart_shows_each_label_as_text():
    assert "a &lt;b&gt;" in plot.bars("title", [plot.Bar("a <b>", [1.0, 2.0], ours=True)], str)


def test_every_part_has_its_place_in_the_page():
    from bench.__main__ import PARTS

    page = report.PAGE.read_text()
    for name in (*PARTS, "ratios", "machine"):
        assert f"<!-- {name}: written by make bench-full -->" in page
        assert f"<!-- {name} ends -->" in page


def test_without_git_the_version_stands_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert contenders.version.__wrapped__("thumbq") == importlib.metadata.version("thumbq")


def test_without_npm_a_contender_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", "/nowhere")
    reason = contenders._install(contenders.PEERS / "package.json", tmp_path / "node")
    assert reason == "not installed: npm: No such file or directory"
