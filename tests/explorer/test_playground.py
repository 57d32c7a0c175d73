"""The playground in a page: every control, links, what it says when it cannot, and how soon it answers."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_explorer import FULL, ask, ready, state

pytestmark = [pytest.mark.browser, pytest.mark.standard]
SLIDERS = dict(systems="ArrowRight", needle="ArrowRight", length="ArrowRight", share="End", place="ArrowLeft")
AT_ONCE = dict(milliseconds=2, interval=10, fifty=60, all=240)  # most that an answer takes, in units of YARDSTICK


# how long twenty million products take in this page: the median of nine times
YARDSTICK = """() => {
    const [weights, x] = [new Float32Array(1 << 16).fill(0.5), new Float32Array(1 << 16).fill(0.25)];
    const took = [];
    for (let round = 0; round < 9; round++) {
        const begun = performance.now();
        let sum = 0;
        for (let i = 0; i < 20 << 20; i++) sum += weights[i & 65535] * x[(i * 7) & 65535];
        took.push(performance.now() - begun + 0 * sum);
    }
    return took.sort((a, b) => a - b)[4];
}"""


def test_answers_come_at_once(playground, models):
    """One trace, the first interval, 50 traces and 200 (medians), and the longest task of the page's own thread once
    it is ready, in units of twenty million products computed beside them.
    """
    eight = next(run for run in models if (run.config["task"]["dimension"], run.config["task"]["labels"]) == (5, 8))
    ask(playground, whole=True, run=eight.name, step=eight.steps[-1], systems=8)
    watch = "list => window.long.push(...list.getEntries().map((each) => each.duration))"
    unit = playground.evaluate(YARDSTICK)
    playground.evaluate(f"window.long = []; new PerformanceObserver({watch}).observe({{ type: 'longtask' }}); null")
    took = [ask(playground, whole=True, shown=i % 8, seed=i + 1)["took"] for i in range(5)]
    longest = playground.evaluate("Math.max(0, ...window.long)")
    unit = (unit + playground.evaluate(YARDSTICK)) / 2
    units = {name: sorted(float(each[name]) for each in took)[2] / unit for name in AT_ONCE}
    assert all(units[name] <= most for name, most in AT_ONCE.items()), (units, unit)
    assert longest / unit <= 6, (longest, unit)


def test_first_view_is_there_with_the_page(visit):
    """Beside a page of tables, which computes nothing."""

    def median(page, there):
        took = []
        for _ in range(3):
            tab = visit(page)
            tab.wait_for_selector(there)
            took.append(tab.evaluate("performance.now()"))
        return sorted(took)[1]

    plain = median("10_claims", "table")
    assert median("09_playground", ".recall-play[data-state=first] svg") < 4 * plain


def stage(tab):
    return tab.locator(".recall-play-stage").first.inner_html()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_control_changes_what_is_shown(visit, width):
    tab = visit("09_playground", width)
    root = tab.locator(".recall-play:not(.recall-guess)")
    words = root.locator(".recall-play-words")
    for name, key in SLIDERS.items():
        before, said = state(tab), words.inner_text()
        root.locator(f"input[name={name}]").focus()
        tab.keyboard.press(key)
        ready(tab)
        assert state(tab) != before, name
        assert stage(tab) and words.inner_text() != said, name
    for name in ("shown", "fresh", "dimension", "labels", "run"):
        keys = root.locator(f"input[data-name={name}]")
        for i in range(keys.count()):
            key = keys.nth(i)
            if key.is_disabled() or key.is_checked():
                continue
            before = state(tab)
            key.focus()
            tab.keyboard.press("Space")
            ready(tab)
            assert state(tab) != before, (name, i)
    before = state(tab)
    root.locator("input[name=equal_norm]").check()
    ready(tab)
    assert state(tab) != before
    for part in root.locator(".recall-play-cut button").all()[:2]:
        part.click()
        assert part.get_attribute("aria-pressed") == "true"
        ready(tab)
    root.get_by_role("button", name="restore all").click()
    ready(tab)
    assert root.locator(".recall-play-cut [aria-pressed=true]").count() == 0
    before = stage(tab)
    root.get_by_role("button", name="new systems").click()
    ready(tab)
    assert stage(tab) != before
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_the_label_can_be_dragged(playground):
    chip, other = playground.locator(".recall-chip").first, playground.locator("g[data-segment='0']").first
    assert playground.evaluate(f"{FULL}.recall.get('shown')") == 1
    chip.scroll_into_view_if_needed()
    here, there = chip.bounding_box(), other.bounding_box()
    playground.mouse.move(here["x"] + 6, here["y"] + 6)
    playground.mouse.down()
    playground.mouse.move(there["x"] + 20, there["y"] + 5, steps=4)
    playground.mouse.up()
    ready(playground)
    assert playground.evaluate(f"{FULL}.recall.get('shown')") == 0
    assert "as label and states say" in playground.locator(".recall-play-words").first.inner_text()


def test_training_plays_and_recall_appears(playground):
    """Before look-up the first answer is wrong and the second right; at the end both are: the book's claim, in the
    page.
    """
    early, late = ask(playground, whole=True, shown=0, step=1300), ask(playground, whole=True, step=3000)
    error = lambda found, k: found["stats"]["error"]["model"][k - 1]["mean"]
    assert error(early, 1) > 0.5 and error(early, 2) < 0.4 and error(late, 1) < 0.25
    button = playground.get_by_role("button", name="play training")
    button.click()
    playground.wait_for_function(f"{FULL}.recall.get('step') > 0 && {FULL}.recall.get('step') < 3000")
    playground.get_by_role("button", name="stop").click()


def test_a_link_reproduces_a_view_and_a_bad_one_is_explained(visit, playground):
    found = ask(playground, systems=3, needle=1, shown=2, seed=12, share=0.5)
    playground.get_by_role("button", name="link to this view").click()
    tab = visit("09_playground", fragment="#" + playground.url.split("#")[1])
    tab.wait_for_function(f"{FULL}.answer() && {FULL}.dataset.state !== 'first'")
    again = tab.evaluate(f"{FULL}.answer().predictions")
    assert again == found["predictions"]
    notes = tab.locator(".recall-play-notes").first
    for bad, words in (
        ("%", "the link is damaged"),
        ("toString=1", 'sets "toString"'),
        ("systems=9", "at most 4 systems, not 9"),
        ("run=nothing", "run must be a model of this page"),
        ("colour=red", 'sets "colour"'),
        ("length=40", "of 40 states are not to be had"),
        ("share=2", "share must be 0 to 1"),
        ("cut=9.9", "cut must be parts such as"),
        ("step=17", "showing 0"),
        ("shown=7", "no segment 7 whose label"),
    ):
        tab.evaluate("bad => { location.hash = '#play:' + bad }", bad)
        tab.wait_for_function(
            "words => "
            "document.querySelector('.recall-play-notes').textContent.toLowerCase().includes(words.toLowerCase())",
            arg=words,
        )
        assert tab.locator(".recall-play-stage svg").count() and notes.inner_text()[0].isupper()


def test_links_of_the_page_move_the_playground(playground):
    seen = set()
    links = playground.locator(".recall-tries a")
    for i in [*range(links.count()), links.count() - 1]:  # the last one twice: its address is then no news
        playground.evaluate(f"{FULL}.dataset.state = 'before'")
        links.nth(i).click()
        ready(playground)
        assert playground.locator(".recall-play-notes").first.inner_text() == ""
        seen.add(playground.locator(".recall-play-words").first.inner_text())
    assert len(seen) >= 8


def test_a_checkpoint_that_does_not_come_is_explained(chromium, address):
    context = chromium.new_context()
    tab = context.new_page()
    tab.route("**/weights/*", lambda route: route.abort())
    tab.goto(f"{address}chapters/09_playground.html")
    tab.wait_for_selector(".recall-play[data-state=first] svg")  # the first view needs no weights
    tab.locator("input[data-name=shown]").first.check(force=True)
    tab.wait_for_selector(".recall-play[data-state=failed]")
    assert "could not be loaded (the file is missing)" in tab.locator(".recall-play-notes").first.inner_text()
    context.close()


def test_without_javascript_there_is_a_table(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{address}chapters/09_playground.html")
    assert "A playground stands here where JavaScript runs" in tab.locator(".recall-explorer").first.inner_text()
    assert tab.locator(".recall-explorer table").first.locator("tbody tr").count() == 8
    context.close()


def test_playground_works_from_a_folder(visit, book):
    tab = visit("09_playground", base=Path(book).as_uri() + "/")
    ask(tab, whole=True, shown=0)


OTHERS = [("09_playground", "dark"), ("index", "light"), ("index", "dark"), ("01_task", "light")]


@pytest.mark.parametrize(
    "name, scheme",
    [("09_playground", "light"), ("01_task", "dark")]
    + [pytest.param(*each, marks=pytest.mark.nightly) for each in OTHERS],
)
def test_nothing_serious_for_those_who_hear_or_type(chromium, address, name, scheme):
    context = chromium.new_context(color_scheme=scheme)
    tab = context.new_page()
    tab.goto(f"{address}chapters/{name}.html")
    tab.wait_for_selector(".recall-trace svg, .recall-play svg")
    found = Axe().run(tab, context=".recall-explorer").response["violations"]
    context.close()
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []
