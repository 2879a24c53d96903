"""The document on reports tells every caveat and rule there is."""

import re
from pathlib import Path

from neftune_core.report import caveats, caveats_of_series
from neftune_core.report.pairs import RULES

DOC = Path("docs/report.md").read_text(encoding="utf-8")


def test_every_caveat_is_told():
    told = re.findall(r"^\| `([a-z_]+)` \|", DOC, re.MULTILINE)
    assert sorted(told) == sorted({*caveats.WORDS, *caveats_of_series.WORDS, "unusual", "runs_differ"})


def test_every_rule_of_picking_is_told_in_its_order():
    (told,) = re.findall(r"^Answers are picked by rule.*?\n\n", DOC, re.MULTILINE | re.DOTALL)
    assert re.findall(r"`([a-z_]+)`", told) == list(RULES)


def test_the_bounds_are_those_that_hold():
    assert f"Fewer than {caveats.FEW_ROWS} were" in DOC
    assert f"Fewer than {caveats.FEW_PAIRS} pairs" in DOC
    assert (caveats.CUT_OFF, caveats.ERRORS) == (0.1, 2.0)
