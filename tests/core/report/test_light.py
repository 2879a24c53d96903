"""Reports are light: whoever makes one loads no model library."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "rouge_score", "sacrebleu", "lm_eval")


def test_a_report_loads_nothing_heavy():
    code = f"""
import sys
from neftune_core.report import page, run
assert run.report_of and page.page
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
