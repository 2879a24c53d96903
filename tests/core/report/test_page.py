"""The page: whole, alone, safe from what strangers wrote, and with nothing that is not in the JSON."""

import base64
import hashlib
import re

import pytest

from neftune_core.report.document import encoded
from neftune_core.report.files import write
from neftune_core.report.markup import tag
from neftune_core.report.page import page
from neftune_core.report.run import report_of
from neftune_core.report.style import SHEET
from tests.core.report import made
from tests.core.report.shown import Shown, of_json

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "</title><script>alert(1)</script>",
    "</style><svg onload=alert(1)>",
    "<!-- --><iframe src=//evil.example>",
    "]]>&lt;b&gt;&#60;i&#62;",
    "javascript:alert(1)",
    "a\u202eb\x00c\x1b[31m\ud800",
]


@pytest.fixture(scope="module")
def report():
    control = made.run(alpha=0.0, final={"eval_loss": 3.8125, "best_eval_loss": 3.7875, "best_step": 20})
    return report_of(made.run(evaluations=[made.whole_evaluation()]), control)


def test_the_page_is_whole_and_each_part_has_its_own_id(report):
    shown = Shown(page(report))
    assert shown.ids == sorted(set(shown.ids), key=shown.ids.index)
    assert {section.id for section in report.sections} <= set(shown.ids)
    assert {"run", "losses", "loss", "overlap", "diversity", "judge", "benchmarks", "answers"} <= set(
        shown.ids
    )


def test_the_page_runs_nothing_and_refers_to_nothing(report):
    shown = Shown(page(report))
    assert not shown.tags & {"script", "link", "img", "iframe", "object", "embed", "a", "form", "base", "use"}
    named = {name for _, attributes in shown.elements for name in attributes}
    assert not named & {"src", "href", "style", "srcdoc", "action", "xlink:href", "srcset", "background"}
    assert not [name for name in named if name.startswith("on")]
    assert not re.search(r"url\(|@import|://", page(report))


def test_its_policy_allows_its_own_style_alone(report):
    shown = Shown(page(report))
    policy = next(at["content"] for tag, at in shown.elements if at.get("http-equiv"))
    sheet = re.search("<style>(.*?)</style>", page(report), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert sheet == SHEET


def test_every_number_of_the_page_is_in_the_json(report):
    numbers, strings = of_json(encoded(report))
    shown = Shown(page(report))
    assert len(shown.numbers) > 100
    for whole, text in shown.numbers:
        assert whole in numbers
        assert is_rounded(text, whole)
    alone = [text for text in shown.texts if re.search("[0-9]", text)]
    assert [text for text in alone if text not in strings] == []


def is_rounded(text, whole):
    """Tell whether a text is the number, as near as its digits tell."""
    plain = text.replace(",", "").replace("\u2212", "-").removesuffix(" %")
    digits = len(plain.partition(".")[2])
    return abs(float(plain) - whole) <= 0.5000001 * 10**-digits


def test_the_figures_that_were_measured_are_told(report):
    told = {whole for whole, _ in Shown(page(report)).numbers}
    assert told >= {3.8204, 3.7951, 3.1046, 5.05}  # losses and measured alpha
    assert told >= {3.25, 3.5, 0.4375, 21.75, 396.25, 2.71, 6.82}  # loss, overlap, diversity
    assert told >= {61.25, 2.4375, 58.5, 0.4125, 0.0375, 0.0085}  # judge and benchmarks


@pytest.mark.parametrize("payload", HOSTILE)
def test_what_strangers_wrote_stays_text(payload):
    # Given a payload wherever a stranger may have put words
    files = {
        "answers-prompts-checkpoint-plain.json": made.answers(payload, prompts=[payload]),
        "answers-prompts-base-plain.json": made.answers(payload + "b", prompts=[payload]),
    }
    evaluation = made.evaluation(
        files,
        kinds=("loss", "diversity", "benchmarks"),
        loss=[made.loss("checkpoint", payload)],
        answers=[made.answers_of("base"), made.answers_of()],
        judge=[made.judged(model=payload, against=payload)],
        benchmarks=[made.benchmark(task=payload, metric=payload, filter=payload)],
        missing=[{"what": payload, "why": payload}],
    )
    run = made.run(name=payload, evaluations=[evaluation], versions={payload: payload})
    run.record["spec"]["tags"] = [payload]
    run.record["spec"]["model"] = payload
    run.record["resolved"]["template"] = payload
    plain = Shown(page(report_of(made.run(name="plain", evaluations=[_harmless(evaluation)]))))
    # When it is shown
    shown = Shown(page(report_of(run)))
    # Then there is no element that is not there without it, and the words can be read
    assert shown.tags <= plain.tags
    assert {name for _, at in shown.elements for name in at} <= {
        name for _, at in plain.elements for name in at
    }
    clean = re.sub("[\x00\x1b\u202e\ud800]", "\ufffd", payload)
    assert shown.text().count(clean) > 10


def _harmless(evaluation):
    files = {
        "answers-prompts-checkpoint-plain.json": made.answers("a", prompts=["p"]),
        "answers-prompts-base-plain.json": made.answers("b", prompts=["p"]),
    }
    return type(evaluation)(evaluation.results, files.get)


def test_a_title_cannot_leave_the_attribute_it_stands_in():
    payload = '"><img src=x onerror=alert(1)>'
    (element,) = Shown(str(tag("div", "text", aria_label=payload, class_="'"))).elements
    assert element == ("div", {"aria-label": payload, "class": "'"})


def test_a_page_can_be_written_whatever_it_holds():
    told = report_of(made.run(name="\ud800\x00\u2066"))
    assert page(told).encode("utf-8")
    assert "\ufffd" in page(told)
    assert "\ufffd" in encoded(told).decode("utf-8")


def test_a_record_in_which_everything_is_something_else_is_reported_all_the_same():
    deep = {"a": None}
    for _ in range(3000):
        deep = {"a": deep}
    odd = {"spec": deep, "resolved": [], "final": {"eval_loss": 1e308 * 10, "best_step": "x"}, "seed": 1e400}
    for part in (odd, {"spec": {"name": 5, "alpha": "5"}, "versions": {1: 2}, "dataset": 7}, {}):
        assert Shown(page(report_of(type(made.run())(part, metrics=[(1, {"eval_loss": float("nan")})])))).ids


def test_files_replace_what_stands_there_and_follow_no_link(tmp_path, report):
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "report.html").symlink_to(tmp_path / "elsewhere")
    for _ in range(2):
        write(report, tmp_path)
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert (tmp_path / "report.html").read_text() == page(report)


def test_the_same_report_has_the_same_bytes(report):
    again = type(report).model_validate_json(encoded(report))
    assert encoded(again) == encoded(report)
    assert page(again) == page(report)
