import csv
import json
import os
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from fxcarry.backtest import backtest, variants
from fxcarry.errors import ConfigError
from fxcarry.evidence import report_card
from fxcarry.model import TradingState
from fxcarry.report import (
    FILES,
    check_folder,
    comparison_table,
    footer,
    render,
    summary,
    worst_days,
    write_files,
    write_html,
)
from fxcarry.report import files as files_module
from fxcarry.report.charts import bar_chart, line_chart, weight_chart
from fxcarry.report.text import percent, ratio
from fxcarry.risk import Drawdown
from fxcarry.strategies import Baseline, Sign
from fxcarry.stress import crash_panel
from fxcarry.testing.factories import market_history

START = "2020-01-08"


@pytest.fixture(scope="module")
def history():
    return market_history(days=780, seed=3)


def run(strategy, history, **change):
    result = backtest(strategy, history=history, **{"start": START, **change})
    return result, variants(
        lambda **more: backtest(strategy, history=history, **{"start": START, **change, **more}), result
    )


@pytest.fixture(scope="module")
def baseline(history):
    return run(Baseline(), history)


@pytest.fixture(scope="module")
def sign(history):
    return run(Sign(), history)


@pytest.fixture(scope="module")
def both(baseline, sign):
    return [summary(*baseline), summary(*sign)]


@pytest.fixture(scope="module")
def folder(baseline, tmp_path_factory):
    return write_files(*baseline, tmp_path_factory.mktemp("report") / "deep" / "Baseline")


@pytest.fixture(scope="module")
def short(history):
    return backtest(Sign(), history=history, start=START, end="2020-04-30")


@pytest.fixture(scope="module")
def flat(history):
    def nothing(view, account):
        return {}

    nothing.__name__ = "<script>alert('x')</script>"
    return backtest(nothing, history=history, start=START, end="2020-03-31")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Numbers


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0114, "+1.14%"), (-0.16649, "-16.65%"), (0.0, "0.00%"), (-0.00001, "0.00%"), (1e-9, "0.00%"), (None, "n/a")],
)
def test_a_percent_has_a_sign_unless_it_is_zero(value, shown):
    assert percent(value) == shown


def test_a_size_has_no_plus():
    assert percent(0.0392, 1, signed=False) == "3.9%"
    assert percent(-0.0392, 1, signed=False) == "-3.9%"


@pytest.mark.parametrize(
    ("value", "error", "shown"), [(0.291, 0.192, "0.29 ± 0.19"), (-0.4, 0.2, "-0.40 ± 0.20"), (0.3, None, "n/a")]
)
def test_a_sharpe_ratio_is_never_bare(value, error, shown):
    assert ratio(value, error) == shown


# The table


def test_summary_holds_the_stats_and_the_variants(baseline):
    result, others = baseline
    one = summary(result, others)
    assert {k: v for k, v in one.items() if k not in ("variants", "venues", "card")} == result.stats
    assert one["venues"] == {}
    assert one["card"] is None
    assert summary(result, others, {"sharpe": 1.0})["card"] == {"sharpe": 1.0}
    assert set(one["variants"]) == {"no_rules", "routed", "gross", "spot_only"}
    assert one["variants"]["spot_only"]["carry"] == 0
    assert one["variants"]["gross"]["annual_return"] == others["gross"].stats["annual_return"]


def test_the_table_has_a_row_for_each_run_with_the_figures_of_the_summary(both):
    text = render(both)
    for one in both:
        block = text[text.index(f"\n{one['strategy']}\n") :]
        labels = {"no_rules": "", "routed": ", cheapest pairs", "gross": ", no mark-up", "spot_only": ", spot only"}
        runs = [("with rules", one), *((f"without rules{label}", one["variants"][k]) for k, label in labels.items())]
        for label, figures in runs:
            line = re.search(rf"^{re.escape(label)}(?: \*)? +(?=[+\-\d])(.*)$", block, re.M)
            assert line is not None, label
            assert f"{figures['sharpe']:.2f} ± {figures['sharpe_se']:.2f}" in line[1]
            shown = [float(x) / 100 for x in re.findall(r"([+-]?\d+\.?\d*)%", line[1])]
            expected = [
                figures[k] for k in ("annual_return", "volatility", "max_drawdown", "win_rate", "spot", "carry")
            ]
            other = figures["translation"] + figures["rounding"]
            assert shown == pytest.approx([*expected, figures["cost"], other], abs=0.0051)
            assert shown[0] == pytest.approx(figures["annual_return"], abs=5.1e-5)
            assert shown[0] == pytest.approx(sum(shown[4:]), abs=2.6e-4)
            assert f" {figures['turnover']:.2f} " in line[1]


def test_it_is_one_table_that_fits_100_columns(both):
    from rich.console import Console

    lines = render(both, 100).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("strategy ") for line in lines) == 1
    assert "…" not in render(both, 80)
    console = Console(file=StringIO(), width=100)
    console.print(comparison_table(both))
    assert "without rules, no mark-up" in console.file.getvalue()


def test_a_halted_row_is_marked_and_explained(both):
    one = {**both[0], "halted": "2020-09-04 DRAWDOWN"}
    text = render([one])
    assert re.search(r"^with rules \* ", text, re.M)
    assert "* Baseline, with rules: halted 2020-09-04 DRAWDOWN, flat from then on" in text
    assert "Its rules halted it for good: 2020-09-04 DRAWDOWN." in text.replace("\n  ", " ")
    assert " * " not in render([{**both[0], "halted": None}]).replace("halted", "")


def test_without_rules_the_row_says_so_and_is_not_shown_twice(history):
    text = render([summary(*run(Baseline(), history, rules=[], end="2020-06-30"))])
    assert len(re.findall(r"^without rules +[+-]", text, re.M)) == 1
    assert "with rules" not in text.replace("without rules", "")
    assert "Rules: none." in text


def test_a_run_that_never_traded_has_no_ratio(flat):
    text = render([summary(flat, {})])
    assert re.search(r"n/a +0\.0% +n/a +0\.00", text)


def test_markup_and_control_characters_in_a_name_stay_text(both):
    text = render([{**both[0], "strategy": "[red]x[/red]\x1b[2J"}])
    assert "[red]x[/red]?[2J" in text
    assert "\x1b" not in text


def test_a_loss_keeps_its_sign(both):
    assert "-12.34%" in render([{**both[0], "annual_return": -0.1234}])


# The footer


def test_the_footer_states_what_a_reader_must_know(both):
    text = "\n".join(footer(both))
    for part in (
        f"{both[0]['start']} to {both[0]['end']}", "rebalanced monthly", "account currency USD", "AUD 2, ",
        "slippage 0 bp", "mark-up of 1.00% a year", "1,000,000 USD at the start; it earns nothing",
        "260 weekdays", "closed round trips",
        "financing and cost included", "½ Σ|Δw| a year", "Mertens", "max-position", "Past results promise nothing",
        "no advice",
    ):  # fmt: skip
        assert part in text, part
    for one in both:
        gross, bare = one["variants"]["gross"]["annual_return"], one["variants"]["spot_only"]["annual_return"]
        assert f"{one['strategy']}: Leaving interest out turns {percent(gross)} a year into {percent(bare)}" in text


def test_settings_that_differ_are_stated_for_each_strategy(both):
    other = {**both[1], "costs": None, "markup": None, "rules": []}
    lines = footer([both[0], other])
    assert "Sign: none, every fill is at mid." in next(line for line in lines if line.startswith("Costs:"))
    assert "Sign: booked by a financing model of its own" in next(
        line for line in lines if line.startswith("Interest:")
    )
    assert "Sign: none" in next(line for line in lines if line.startswith("Rules:"))


def test_a_multiplied_spread_and_missing_interest_are_named(both):
    costs = {**both[0]["costs"], "spread_multiplier": 2.0, "slippage_bps": 0.5}
    text = "\n".join(footer([{**both[0], "costs": costs, "markup": None, "carry": 0.0, "variants": {}}]))
    assert "times 2" in text
    assert "slippage 0.5 bp" in text
    assert "Interest: not booked." in text
    assert "Leaving interest out" not in text


def test_it_is_said_how_far_the_rules_made_another_portfolio(both):
    changes = {"targets": 12, "changed": 9, "by_rule": {"max-position": 9, "max-exposure": 4}}
    told = "\n".join(footer([{**both[0], "rule_changes": changes}]))
    assert "The rules changed 9 of 12 targets (max-position 9, max-exposure 4): with rules it is another" in told
    none = {"targets": 12, "changed": 0, "by_rule": {}}
    assert "The rules changed none of 12 targets." in "\n".join(footer([{**both[0], "rule_changes": none}]))
    assert "The rules changed" not in "\n".join(footer([{**both[0], "rules": [], "rule_changes": none}]))


def test_notes_are_listed_once(both):
    noted = [{**one, "notes": ["fixings, not closes"]} for one in both]
    assert footer(noted).count("Data: fixings, not closes") == 1


@pytest.mark.parametrize("call", [comparison_table, render, footer])
def test_nothing_to_show_is_an_error(call):
    with pytest.raises(ConfigError, match="no result"):
        call([])


# The files


def test_exactly_five_files(folder):
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["Baseline"]


def test_rows_of_nav_sum_to_its_change(folder, baseline):
    rows = rows_of(folder / "nav.csv")
    assert list(rows[0]) == ["date", "nav", "spot", "carry", "cost", "translation", "rounding"]
    assert [r["date"] for r in rows] == [str(d) for d in baseline[0].books.day]
    before = 1_000_000.0
    for row in rows:
        parts = sum(float(row[k]) for k in ("spot", "carry", "cost", "translation", "rounding"))
        assert float(row["nav"]) - before == pytest.approx(parts, abs=1e-5)
        before = float(row["nav"])
        assert float(row["cost"]) <= 0
    assert before == pytest.approx(baseline[0].stats["final_nav"], abs=1e-6)
    assert "-0.000000" not in (folder / "nav.csv").read_text()


def test_weights_have_a_column_a_currency(folder, baseline):
    rows = rows_of(folder / "weights.csv")
    assert list(rows[0]) == ["date", *baseline[0].universe]
    table = np.array([[float(v) for k, v in row.items() if k != "date"] for row in rows])
    np.testing.assert_allclose(table, baseline[0].weights.to_numpy(), atol=5e-7)


def test_trades_are_the_fills(folder, baseline):
    rows = rows_of(folder / "trades.csv")
    fills = baseline[0].journal.log.fills
    assert len(rows) == len(fills) > 50
    assert [float(r["units"]) for r in rows] == [f.units for f in fills]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows[0]["at"])
    assert sum(float(r["cost"]) for r in rows) == pytest.approx(-baseline[0].books.cost.sum(), abs=1e-4)


def test_the_summary_is_strict_json(folder, both):
    def refuse(name):
        raise AssertionError(name)

    read = json.loads((folder / "summary.json").read_text("utf-8"), parse_constant=refuse)
    assert read == json.loads(json.dumps(both[0]))
    wanted = {
        "strategy", "start", "end", "universe", "account_currency", "markup", "costs", "rules", "annual_return",
        "volatility", "sharpe", "sharpe_se", "max_drawdown", "win_rate", "turnover", "spot", "carry", "cost",
        "variants",
    }  # fmt: skip
    assert wanted <= read.keys()


def test_a_run_without_volatility_is_written_too(flat, tmp_path):
    written = write_files(flat, {}, tmp_path / "flat")
    read = json.loads((written / "summary.json").read_text())
    assert read["sharpe"] is None
    assert read["variants"] == {}
    assert rows_of(written / "trades.csv") == []


def test_a_rerun_replaces_its_files_and_touches_no_other(baseline, flat, tmp_path):
    target = tmp_path / "out"
    write_files(*baseline, target)
    (target / "mine.txt").write_text("keep")
    write_files(flat, {}, target)
    assert sorted(p.name for p in target.iterdir()) == sorted([*FILES, "mine.txt"])
    assert json.loads((target / "summary.json").read_text())["strategy"] == flat.strategy
    assert len(rows_of(target / "nav.csv")) == len(flat.nav)


STAGES = ["_write_nav", "_write_table", "_write_trades", "page", "summary", "_move"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("is_after", [False, True])
def test_an_interrupted_run_leaves_what_was_there(stage, is_after, short, flat, tmp_path, monkeypatch):
    target = tmp_path / "out"
    write_files(flat, {}, target)
    before = {p.name: p.read_bytes() for p in target.iterdir()}
    original = getattr(files_module, stage)

    def interrupted(*arguments):
        if is_after:
            original(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(files_module, stage, interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files(short, {}, target)
    with pytest.raises(KeyboardInterrupt):
        write_files(short, {}, tmp_path / "new")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    after = {p.name: p.read_bytes() for p in target.iterdir()}
    if stage == "_move" and is_after:
        assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(FILES)
        assert all(after[name] != before[name] for name in FILES)
    else:
        assert after == before
        assert not any((tmp_path / "new" / name).exists() for name in FILES)


@pytest.mark.parametrize("moved", range(6))
@pytest.mark.parametrize("is_after", [False, True])
def test_an_interruption_between_two_moves_leaves_no_mixture(moved, is_after, short, flat, tmp_path, monkeypatch):
    target = tmp_path / "out"
    write_files(flat, {}, target)
    before = {p.name: p.read_bytes() for p in target.iterdir()}
    calls = []

    def replace(source, destination):
        calls.append(destination)
        if len(calls) == moved and not is_after:
            raise KeyboardInterrupt
        os.rename(source, destination)
        if len(calls) == moved:
            raise KeyboardInterrupt

    monkeypatch.setattr(files_module.os, "replace", replace)
    if moved:
        with pytest.raises(KeyboardInterrupt):
            write_files(short, {}, target)
    else:
        write_files(short, {}, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert all((target / name).read_bytes() != before[name] for name in FILES)


def test_files_are_readable_by_others(folder):
    assert all(p.stat().st_mode & 0o777 == 0o666 & ~_umask() for p in folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Places that cannot be written


def test_a_path_that_is_a_file_is_refused(flat, tmp_path):
    target = tmp_path / "taken"
    target.write_text("mine")
    for place in (target, target / "below" / "it"):
        for call in (lambda p: write_files(flat, {}, p), check_folder):
            with pytest.raises(ConfigError, match="is a file") as caught:
                call(place)
            assert str(place) in str(caught.value)
            assert caught.value.hint
            assert caught.value.fields == {"path": str(place)}
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_is_written(flat, tmp_path):
    (tmp_path / "out" / "report.html").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"report\.html in it is a folder"):
        write_files(flat, {}, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["report.html"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_without_permission_is_refused(flat, tmp_path, monkeypatch):
    monkeypatch.setattr(files_module.os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(ConfigError, match="no permission to read and write"):
        check_folder(tmp_path / "a" / "b")
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path))):
        write_files(flat, {}, tmp_path / "a")
    check_folder(tmp_path.parent)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused(flat, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="permission"):
        write_files(flat, {}, tmp_path / "a")
    tmp_path.chmod(0o700)


def test_a_full_disk_is_explained_and_cleaned_up(flat, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module, "_write", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        write_files(flat, {}, tmp_path / "out")
    with pytest.raises(ConfigError, match="No space left on device"):
        write_html([flat], tmp_path / "out.html")
    assert list(tmp_path.iterdir()) == []


def test_check_folder_changes_nothing(tmp_path):
    check_folder(tmp_path / "not" / "yet")
    check_folder(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_one_page_is_written_whole_or_not_at_all(flat, tmp_path, monkeypatch):
    target = write_html([flat], tmp_path / "new" / "page.html")
    assert target.read_text("utf-8").rstrip().endswith("</html>")
    assert [p.name for p in target.parent.iterdir()] == ["page.html"]
    with pytest.raises(ConfigError, match="cannot write to"):
        write_html([flat], tmp_path)

    def interrupted(source, destination):
        raise KeyboardInterrupt

    monkeypatch.setattr(files_module.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_html([flat], tmp_path / "other.html")
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_a_page_about_nothing_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="no result"):
        write_html([], tmp_path / "page.html")


# The page


class _Page(HTMLParser):
    """Tags, the text of cells by row, and every address; checks that tags are closed in order."""

    VOID = frozenset({"meta", "br", "path", "rect", "circle", "link", "img"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.headings, self.addresses, self.ids = [], [], [], [], []
        self._open = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("href", "src", "xlink:href", "data", "action")]
        self.ids += [v for k, v in attributes if k == "id"]
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data
        if {"h1", "h2", "h3"} & set(self._open):
            self.headings[-1] += data


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text("utf-8")


def test_the_page_needs_nothing_else(page):
    parsed = _Page(page)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(parsed.tags)
    assert parsed.addresses == []
    assert not re.search(r"https?://|//\w|@import|url\(|javascript:", page)
    assert len(page.encode()) < 1_500_000


def test_the_page_has_every_section(page):
    assert _Page(page).headings == [
        "Baseline", "Growth", "What the rules, the mark-up and the interest make of it", "Drawdown",
        "Where the money came from", "Year by year", "What was held", "Monthly returns", "By currency",
        "Worst ten days", "Bad times", "How sure is it?", "What the risk rules did", "Settings",
        "How to read the figures",
    ]  # fmt: skip
    assert page.count("<svg") == 5
    assert "prefers-color-scheme: dark" in page
    assert "Past results promise nothing" in page
    assert "nan" not in page.lower().replace("financing", "")


def test_the_tables_of_the_page_hold_the_run(page, baseline, both):
    result, one = baseline[0], both[0]
    rows = {row[0]: row for row in _Page(page).rows if row}

    def number(shown):
        return float(shown.replace("−", "-").replace(",", "").replace("%", ""))

    for label, figures in (("with rules", one), ("without rules, no mark-up", one["variants"]["gross"])):
        row = next(row for name, row in rows.items() if re.fullmatch(rf"{label}(halted.*)?", name))
        assert number(row[1]) == pytest.approx(100 * figures["annual_return"], abs=0.0051)
        assert row[3].replace("−", "-") == f"{figures['sharpe']:.2f} ± {figures['sharpe_se']:.2f}"
        assert number(row[8]) == pytest.approx(100 * figures["carry"], abs=0.0051)

    nav = result.nav
    ends = nav.groupby(nav.index.year).last()
    first = dict(zip(ends.index, [result.cash, *ends.iloc[:-1]]))
    for year, end in ends.items():
        assert number(rows[str(year)][-1]) == pytest.approx(100 * (end / first[year] - 1), abs=0.051)
    months = nav.groupby([nav.index.year, nav.index.month]).last()
    assert number(rows["2021"][3]) == pytest.approx(100 * (months[2021, 3] / months[2021, 2] - 1), abs=0.051)

    total = sum(number(rows[c][-1]) for c in result.universe)
    assert number(rows["all"][-1]) == pytest.approx(total, abs=5)
    assert total == pytest.approx(result.stats["final_nav"] - result.cash, abs=6)
    assert number(rows["all"][2]) == len(result.trades)

    worst = result.returns.sort_values().index[:10].strftime("%Y-%m-%d")
    assert all(day in rows for day in worst)
    parts = [number(x) for x in rows[worst[0]][1:]]
    assert parts[0] == pytest.approx(100 * result.returns.min(), abs=0.0051)
    assert parts[0] == pytest.approx(sum(parts[1:]), abs=0.021)


def test_the_card_and_the_crashes_are_on_the_page(baseline, tmp_path):
    result, others = baseline
    card, crash = report_card(result, variants=others), crash_panel(result)
    folder = write_files(result, others, tmp_path / "out", card=card, crash=crash)
    assert json.loads((folder / "summary.json").read_text("utf-8"))["card"] == card
    text = (folder / "report.html").read_text("utf-8")
    words = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    assert f"{card['sharpe']:.2f} ± {card['se']:.2f} a year, one standard error".replace("-", "−") in words
    assert f"{card['start']} to {card['end']}, " in words
    assert f"spot {100 * card['spot']:+.2f}%".replace("-", "−") in words
    assert "likely, if this was the only thing ever tried (PSR)" in words
    assert "No report card was made" not in words
    rows = {row[0]: row for row in _Page(text).rows if row}
    assert len(crash["rows"]) == 16
    for row in crash["rows"]:
        shown = rows[row["scenario"]]
        if row["is_computable"]:
            assert shown[2].replace("−", "-") == f"{100 * row['change']:+.1f}%"
            assert shown[5] == ("yes" if row["is_closed_out"] else "no")
            assert shown[6] == f"{row['nav_after']:,.0f}"
        else:
            assert shown[2] == f"no move known for {', '.join(row['missing'])}"
    assert f"The book held on {crash['date']}: " in words
    assert "Every scenario is one gap" in words


def test_without_a_card_the_page_says_so(page):
    assert "No report card was made for this page" in page
    assert "What a crash would do to it" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [({"weights": {}}, "Nothing was held on"), ({"missing": "it is <gone>"}, "Not known: it is &lt;gone&gt;.")],
)
def test_a_book_that_cannot_be_stressed_is_told_on_the_page(baseline, tmp_path, change, said):
    crash = {**crash_panel(baseline[0]), **change}
    text = write_html([baseline[0]], tmp_path / "page.html", crashes={"Baseline": crash}).read_text("utf-8")
    assert said in text


def test_the_worst_days_add_up(baseline):
    result = baseline[0]
    days = worst_days(result)
    assert [day["date"] for day in days] == result.returns.sort_values().index[:10].strftime("%Y-%m-%d").tolist()
    for day in days:
        assert day["return"] == result.returns[day["date"]]
        assert day["spot"] + day["carry"] + day["cost"] + day["other"] == pytest.approx(day["return"], abs=1e-12)


def test_names_are_escaped(flat, tmp_path):
    text = write_html([flat, flat], tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(" in text
    assert "script" not in _Page(text).tags
    assert "No day lost money." in text
    assert "Nothing moved" in text


def test_several_strategies_share_a_page(baseline, sign, tmp_path):
    others = {"Baseline": baseline[1], "Sign": sign[1]}
    text = write_html([baseline[0], sign[0]], tmp_path / "page.html", others).read_text("utf-8")
    parsed = _Page(text)
    assert parsed.headings[:2] == ["2 carry strategies", "Side by side"]
    assert parsed.addresses == ["#s1", "#s2"]
    assert parsed.ids == ["s1", "s2"]
    assert parsed.headings.count("Growth") == 2
    assert text.count("<svg") == 11


def test_to_html_takes_a_card(baseline, tmp_path):
    result = baseline[0]
    text = result.to_html(tmp_path / "page.html", card=report_card(result)).read_text("utf-8")
    assert "if this was the only thing ever tried" in text


def test_to_html_writes_the_same_page_without_variants(baseline, tmp_path):
    text = baseline[0].to_html(tmp_path / "page.html").read_text("utf-8")
    assert "Growth" in text
    assert "Leaving interest out" not in text


def test_halts_and_stops_are_told(history, tmp_path):
    result = backtest(Baseline(), history=history, start=START, rules=[Drawdown(limit=0.02)])
    halt = next(at for at, state in result.journal.states if state.trading is TradingState.HALTED)
    text = write_html([result], tmp_path / "page.html").read_text("utf-8")
    rows = [[*map(str.strip, row)] for row in _Page(text).rows]
    assert [f"{halt:%Y-%m-%d}", "halt", "halted for good: DRAWDOWN; flat from then on"] in rows
    assert ["drawdown", "DRAWDOWN", "FLATTEN_HALT"] in [row[:3] for row in rows]
    assert f"halted {halt:%Y-%m-%d} DRAWDOWN</text>" in text


def test_the_same_run_gives_the_same_page(baseline, tmp_path):
    pages = [write_html([baseline[0]], tmp_path / f"{n}.html").read_bytes() for n in range(2)]
    assert pages[0] == pages[1]


def test_it_touches_no_plotting_library():
    import subprocess
    import sys

    code = (
        "import sys, fxcarry.report; print([m for m in ('matplotlib', 'jinja2', 'rich', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Charts


def points(svg, name):
    path = re.search(rf'<path class="line {name}" d="M([^"]*)"', svg)[1]
    return np.array([[float(v) for v in p.split()] for p in path.split("L")])


def test_a_long_line_keeps_its_extremes():
    days = np.arange("2000-01-01", "2027-01-01", dtype="datetime64[D]")
    values = np.sin(np.arange(len(days)) / 400.0)
    values[3_333], values[7_777] = 5.0, -4.0
    xy = points(line_chart({"net": (days, values)}, label="x"), "net")
    assert len(xy) <= 1_002
    unit = (xy[:, 1].max() - xy[:, 1].min()) / 9.0
    assert xy[xy[:, 1].argmin(), 0] == pytest.approx(52 + 898 * 3_333 / (len(days) - 1), abs=0.06)
    assert xy[0, 1] - xy[:, 1].min() == pytest.approx(5 * unit, abs=0.2)
    assert (np.diff(xy[:, 0]) >= 0).all()


def test_axis_labels_are_round_and_cover_the_data():
    days = np.arange("2020-01-01", "2020-02-20", dtype="datetime64[D]")
    svg = line_chart({"net": (days, np.linspace(0, 0.0234, len(days)))}, label="x")
    labels = re.findall(r">(−?[\d.]+)%<", svg)
    assert [float(x) for x in labels] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert ">Jan 2020<" in svg
    assert ">Feb 2020<" in svg


def test_years_are_labelled_on_a_long_axis_and_ends_on_a_short_one():
    long = np.arange("1999-01-04", "2026-09-07", dtype="datetime64[D]")
    assert ">2003<" in line_chart({"net": (long, np.zeros(len(long)))}, label="x")
    short = np.arange("2020-03-03", "2020-03-05", dtype="datetime64[D]")
    svg = line_chart({"net": (short, np.zeros(2))}, label="x")
    assert ">2020-03-03<" in svg
    assert ">2020-03-04<" in svg


def test_bars_are_stacked_from_zero_on_both_sides():
    svg = bar_chart(
        ["2020"], {"spot": np.array([-0.02]), "carry": np.array([0.03]), "other": np.array([0.01])}, label="x"
    )
    bars = {
        m[0]: (float(m[1]), float(m[1]) + float(m[2]))
        for m in re.findall(r'class="bar (\w+)" x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', svg)
    }
    zero = bars["carry"][1]
    assert bars["spot"][0] == pytest.approx(zero, abs=0.11)
    assert bars["other"][1] == pytest.approx(bars["carry"][0], abs=0.11)
    assert (bars["spot"][1] - zero) / (zero - bars["carry"][0]) == pytest.approx(2 / 3, abs=0.01)
    dot = float(re.search(r'class="dot" cx="[\d.]+" cy="([\d.]+)"', svg)[1])
    assert dot == pytest.approx(zero - (bars["spot"][1] - zero), abs=0.2)
    assert "<title>2020: spot -2.00%, carry +3.00%, other +1.00%</title>" in svg


def test_weights_are_long_or_short_and_text_is_escaped():
    days = np.arange("2020-01-01", "2020-01-11", dtype="datetime64[D]")
    weights = np.zeros((10, 2))
    weights[:5, 0], weights[5:, 1] = 0.4, -0.1
    svg = weight_chart(days, weights, ["AUD", "<b>"], label='a "b"')
    assert re.findall(r'class="(long|short)" fill-opacity="([\d.]+)"', svg) == [("long", "1"), ("short", "0.25")]
    assert "&lt;b&gt;" in svg
    assert 'aria-label="a &quot;b&quot;"' in svg
