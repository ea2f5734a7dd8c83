"""The shell completes commands."""

import os
import subprocess
import sys
from pathlib import Path

THUMBQ = Path(sys.executable).with_name("thumbq")


def test_bash_completes_a_command() -> None:
    asked = {"_THUMBQ_COMPLETE": "complete_bash", "COMP_WORDS": "thumbq doc", "COMP_CWORD": "1"}
    made = subprocess.run([THUMBQ], env=os.environ | asked, capture_output=True, text=True, check=False)
    assert made.stdout.split() == ["doctor"]
