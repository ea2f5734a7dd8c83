"""A program writes its log to whatever stands behind its standard streams, and continues."""

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

# Far more than a pipe and the backlog hold.
LINES = 40_000
PROGRAM = f"""
import sys
from pathlib import Path
from thumbq_runtime.logs import standard_streams as streams
streams.LAST_SECONDS = streams.LONGEST_END = float(sys.argv[2])
streams.protect_standard_streams()
mark = open(sys.argv[1], "w")
assert mark.fileno() > 2, "a file of the program stands where its children write"
for number in range({LINES}):
    sys.stderr.write(f"line {{number}} of a log that goes on and on\\n")
    print("output", number)
mark.write("done")
mark.close()
sys.stdin and sys.stdin.read()
print("the last line", file=sys.stderr)
"""


@pytest.mark.parametrize(
    "shell_words",
    [">/dev/null 2>/dev/full", ">/dev/full 2>&1", ">&- 2>&-", ">/dev/null 2>&-", ">&- 2>/dev/null"],
    ids=["full disk", "both on a full disk", "both closed", "stderr closed", "stdout closed"],
)
def test_a_stream_that_takes_nothing_ends_nothing(shell_words: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = ["sh", "-c", f'exec "$0" -c "$1" "$2" 1 </dev/null {shell_words}', sys.executable, PROGRAM, str(mark)]
    assert subprocess.run(command, check=False, timeout=50).returncode == 0
    assert mark.read_text() == "done", "no line went into a file of the program"


def test_a_reader_that_has_gone_away_ends_nothing(tmp_path: Path) -> None:
    readable, writable = os.pipe()
    os.close(readable)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "mark"), "1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=writable, stderr=writable, check=False, timeout=50)
    os.close(writable)
    assert done.returncode == 0
    assert (tmp_path / "mark").read_text() == "done"


def test_a_reader_that_stands_still_does_not_block_the_program_and_is_told_what_it_missed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mark")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "mark"), "60"],  # it is read until the end
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        # The program has written all of its lines, and no one has read any.
        assert (tmp_path / "mark").read_text() == "done"
        assert process.stdin
        assert process.stderr
        lines = [process.stderr.readline()]
        while b"lines of this log were lost" not in lines[-1]:
            lines.append(process.stderr.readline())
        process.stdin.close()
        assert process.stderr.read().endswith(b"the last line\n")
    assert process.returncode == 0
    assert lines[0] == b"line 0 of a log that goes on and on\n"


def test_what_is_lost_of_a_log_for_programs_is_told_in_an_object_as_all_else() -> None:
    program = f"""
import logging, sys
from thumbq_runtime.logs.setup import configure_logging
configure_logging("server")
for number in range({LINES}):
    logging.getLogger("library").warning("line %d", number)
print("written", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"THUMBQ_LOG_FORMAT": "json"},
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b"written\n"
        line = json.loads(process.stderr.readline())
        while line["event"] != "log.lost":
            line = json.loads(process.stderr.readline())
        process.stdin.close()
        process.stderr.read()
    assert (line["level"], line["program"]) == ("warning", "server")
    assert "lines of this log were lost" in line["message"]


def test_lines_of_libraries_have_their_time_in_utc_as_all_others() -> None:
    program = """
import logging, structlog
from thumbq_runtime.logs.setup import configure_logging
configure_logging("server")
structlog.get_logger().warning("postgres.away")
logging.getLogger("library").warning("said")
"""
    environment = os.environ | {"TZ": "Asia/Tokyo", "THUMBQ_LOG_FORMAT": "text"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    ours, of_library = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", done.stderr)
    between = datetime.fromisoformat(of_library) - datetime.fromisoformat(ours)
    assert abs(between.total_seconds()) < 3600


def test_a_log_whose_reader_stands_still_for_ever_does_not_keep_the_program_from_its_end(tmp_path: Path) -> None:
    readable, writable = os.pipe()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "mark"), "1"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writable, check=False, timeout=50
    )
    os.close(readable)
    os.close(writable)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("stderr", "said"), [("", "The output cannot be written: No space left on device."), ("&1", "")]
)
def test_a_command_whose_output_a_full_disk_does_not_take_says_so_in_one_sentence(stderr: str, said: str) -> None:
    words = 'exec "$0" --version >/dev/full' + (f" 2>{stderr}" if stderr else "")
    done = subprocess.run(
        ["sh", "-c", words, str(Path(sys.executable).with_name("thumbq"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, f"thumbq: {said}\n" if said else "")
