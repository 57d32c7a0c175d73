"""What is said of the four ways turns with the data."""

import math

import made_which_way as made
import pandas as pd
import pytest

from recall import data, measures, runs
from recall.prose import ways as prose
from recall.studies.which_way import ways


def test_order_turns_with_the_data():
    text = prose.order(ways.showings(made.story()))
    assert "*pool* → *match* → *carry on* → *look up*" in text and "All four ways show in 8 of 8 runs" in text
    assert "*match* before *look up* in 8 of 8 seeds (one-sided sign test p = 0.004)" in text
    text = prose.order(ways.showings(made.story(match=6, look=3, far=3, carry=2)))
    assert "*match* before *look up* in 0 of 8 seeds (one-sided sign test p = 1.000)" in text
    assert "*look up* → *match*" in text
    never = prose.order(ways.showings(made.story(carry=5)))
    assert "All four ways show in 0 of 8 runs" in never
    assert "Never seen in any of 8 seeds: *carry on* (largest value 0.00)" in never
    tie = prose.order(ways.showings(made.story(match=5)))
    assert "*match* before *look up* in 0 of 8 seeds" in tie and "between the same two checkpoints in 8" in tie


def test_tables_of_the_page():
    ends = prose.ends(made.story()["ways"]).set_index("k")
    assert ends.loc[1, "label, weight"] == ends.loc[2, "observed, weight"] == "1.00 (1.00 to 1.00)"
    page = prose.dated(ways.showings(made.story(carry=5))).set_index("way")
    never = page.loc["carry on", ["shows in", "thousand examples, median", "kept to the end"]]
    assert never.tolist() == ["0 of 8", "never", "–"]
    assert page.loc["match", "thousand examples, median"] == "3"  # between 2,000 and 4,000


def test_lag_turns_with_the_data():
    text = prose.by_lag(made.story()["ways_lags"])
    assert "comes earlier" in text and "2.00 (2.00 to 2.00) doublings" in text
    assert "0.80 (0.80 to 0.80) of the answers to a label that names lag 2 point at lag 1" in text
    assert "comes *later*" in prose.by_lag(made.story(carry=6, far=3)["ways_lags"])
    late = prose.by_lag(made.story(far=99)["ways_lags"])
    assert "at least" in late and "lag 4 in 0" in late and "8 had not reached lag 4" in late


def test_carrying_on_turns_with_the_data():
    table = made.story()["ways"]
    assert "no model carries on" in prose.carried(table)
    table.loc[table.k == 1, "recent"] = 0.7
    assert "carry on whatever the label says" in prose.carried(table)


def test_say_turns_with_the_data():
    said = lambda **changes: prose.say(ways.says(made.story(**changes)["ways"]))
    early, later = said(take=3), said(take=7)
    assert "the label has a say at k = 2 *before* k = 1" in early
    assert "in 8 of 8 seeds, after it in 0 (two-sided sign test p = 0.008)" in early
    assert "the label has a say at k = 2 *after* k = 1" in later and "+2.00 (+2.00 to +2.00) doublings" in later
    assert "neither ever in 8" in said(look=99)
    assert "too few seeds" in said(take=5) and "too few seeds" in said(seeds=3)  # the first: all of them ties
    seven = ways.says(made.story(take=3)["ways"])
    seven.loc[(seven.seed == 300) & (seven.k == 2), ["after", "date", "by"]] = math.nan
    assert "no clear order" in prose.say(seven) and "p = 0.070" in prose.say(seven)


def test_unseen_turns_with_the_data():
    said = lambda **changes: prose.unseen(ways.collapses(made.story(**changes)))
    text, stubborn, early = said(), said(forget=99), said(forget=4)
    after = "(fall before look-up in 0 of 8 seeds, after it in 8, two-sided sign test p = 0.008)"
    assert "*as Bayes*" in text and f"the fall comes *after* look-up {after}" in text
    assert "+3.00 (+3.00 to +3.00) doublings" in text
    assert "*not as Bayes*" in stubborn and "(8 had not by the end)" in stubborn
    assert "fell below ½ for good in 0 of the 8" in stubborn and "the fall comes *after* look-up" in stubborn
    assert "the fall comes *before* look-up (fall before look-up in 8 of 8 seeds, after it in 0" in early


def test_mixture_turns_with_the_data():
    tables = made.story()
    assert "observation-led" in prose.mixture(tables) and "either/or" not in prose.mixture(tables)
    tables["ways"].loc[tables["ways"].k == 2, ["label", "observed"]] = 0.5
    assert "either/or" in prose.mixture(tables)  # flat, against a peak in the middle
    alike = tables["ways_histogram"].assign(traces=lambda bins: bins.mixture)
    assert "no purer than that" in prose.mixture(tables | {"ways_histogram": alike})


def test_bigram_turns_with_the_data():
    seeds = range(300, 305)
    cell = lambda setting, seed: dict(dimension=5, setting=setting, seed=seed)
    finished = [made.dated_run(seed) for seed in seeds]
    date = measures.dates(finished[0], 4)["1-after"].date
    cues = pd.DataFrame([cell("no-repeats", seed) | {"1-after N=4": 2 * date + seed} for seed in seeds])
    rows = [cell("no-repeats", seed) | dict(lag=lag, score=0.9) for seed in seeds for lag in ways.LAGS]
    lags = pd.DataFrame(rows).assign(examples=100)

    def starts(usual, without):
        """Dates of lag 1 and lag 2 with repeats and without, a little different for every seed."""
        rows = [
            cell(setting, seed) | dict(near=near, far=far * (1 + 0.01 * (seed - 302)))
            for setting, (near, far) in (("fast-1", usual), ("no-repeats", without))
            for seed in seeds
        ]
        return pd.DataFrame(rows).assign(fit=1.0, end=99.0)

    said = lambda lags, dates: prose.bigram(dict(ways_lags=lags, ways_starts=dates), cues, finished)
    smaller = starts((10, 40), (20, 20))
    text = said(lags, smaller)
    assert "*refuted* of finished models" in text and "*later*" in text and "+1.0" in text
    assert "without repeats the head start is smaller, and none is clearly left" in text
    assert "lag 1 ahead of lag 2 by +2.00 (+2.00 to +2.00) doublings more" in text
    gone = said(lags.assign(score=lags.score.where(lags.lag > 1, 0.1 + 0.01 * (lags.seed - 300))), smaller)
    assert "*survives*: without repeats in training there is no recall at lag 1" in gone and "which is below 0" in gone
    assert "*refuted*: without repeats the head start is larger" in said(lags, starts((20, 20), (10, 40)))
    assert "though some is left" in said(lags, starts((10, 80), (10, 40)))
    assert "*undecided*: 0 models" in said(lags.assign(score=0.0), smaller)
    # its end, 99, as a bound
    assert "ahead of lag 2 by +3.3" in said(lags, starts((10, math.nan), (20, 20)))


@pytest.mark.standard
def test_page_has_no_holes():
    committed = ways.read()
    found, adamw = ways.showings(committed), ways.showings(committed, "adamw.heads-2")
    texts = [
        prose.order(found, committed["ways_starts"]),
        prose.order(adamw, committed["ways_starts"]),
        prose.carried(committed["ways"]),
        prose.say(ways.says(committed["ways"])),
        prose.by_lag(committed["ways_lags"]),
        prose.unseen(ways.collapses(committed)),
        prose.mixture(committed),
        prose.bigram(committed, data.table("cues"), runs.load_all("atlas")),
        prose.dated(found).to_string(),
        prose.ends(committed["ways"]).to_string(),
    ]
    assert not any("nan" in text for text in texts)
