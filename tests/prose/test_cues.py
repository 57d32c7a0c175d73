"""What is said of equal norms, label error and state noise turns with the data."""

import made_which_way as made
import pandas as pd

from recall.prose import cues as prose
from recall.studies.which_way import cues


def test_maps_or_label_turns():
    said = lambda *norms, index, share=0.9: prose.maps_or_label(made.norms(*norms), made.early(index, share))
    from_first = said(-3, 1.0, index=0.95)
    assert "By the label in all of them; and not at last but from the first" in from_first
    assert "the map that the label names" in from_first
    assert "the map that the label names" not in said(-3, 1.0, index=0.95, share=0.2)
    assert "By the label in all of them; but not from the first" in said(-3, 1.0, index=0.05)
    assert "By the maps in all of them" in said(0, 0.02, index=0.05)
    assert "There is no one answer" in said(-1, 0.5, index=0.5)


def test_growth_by_hand():
    words = prose.growth(made.norms(0, 0))
    assert "from N = 2 to 4" in words and "trained on equal norms it grows in 1 of 1 dimensions" in words
    swings = lambda rows: 0.1 + 0.001 * rows.seed * (rows.systems == 2) * (rows.seed % 2 * 2 - 1)
    flat = made.norms(0, 0).assign(mean=swings)
    assert "trained on equal norms it grows in 0 of 1 dimensions" in prose.growth(flat)


def test_the_table_of_tests_is_shown():
    shown = prose.tests_shown(cues.misdirected_norms(made.norms(-0.2, 0.0)))
    assert len(shown) == 4 and set(shown.seeds) == {"8 of 8"} and set(shown.outcome) == {"not equivalent"}
    few = prose.tests_shown(cues.misdirected_norms(made.norms(-0.2, 0.0, seeds=4)))
    assert few["difference (90 %)"].str.endswith("(all models)").all()


def test_dose_and_response_turns():
    heeded = lambda label: prose.heeded(made.weights(label=label))
    assert "falls faster than" in heeded(lambda p: 1 - 1.5 * p)
    assert "falls more slowly than" in heeded(lambda p: 1 - 0.3 * p)
    assert "does not follow" in heeded(lambda p: 0.5 + p)
    text = prose.heeded(made.weights())
    assert "6 do not look labels up well" in text and "p = 0.5, s = 0.3" in text


def test_what_is_overheard_turns():
    deaf = prose.overheard(made.weights())
    assert "It is below 0.25 in all 24 models" in deaf and "within 0.1 of that in 9 of 9 cells" in deaf
    assert "not in:" in deaf
    bayes = prose.overheard(made.weights(index=lambda p, s: float(p == 0)))
    assert "It is not: over p it spans 1.00" in bayes and "within 0.1 of that in 9 of 9 cells" in bayes
    assert "models do too" in bayes
    led = prose.overheard(made.weights(index=lambda p, s: 0.9 if s else 0.0))
    assert "believe the label by more than that in 6" in led and "rises with state noise at 4 of 4" in led


def test_what_decides_turns():
    def said(early, end):
        rows = [
            dict(training=f"n = {n}, 4 labels", order=n, dimension=n, seed=seed, octaves=1.0 + seed)
            | dict(kind="label-led" if end(seed) > 0.75 else "observation-led")
            | dict(label_index=end(seed), early_index=early(seed))
            for n in (3, 5)
            for seed in range(8)
        ]
        same = dict(group=cues.GROUPS[4], setting=cues.BASE, labels=4, knows=True)
        return prose.decided(pd.DataFrame(rows).assign(**same))

    stays = said(lambda seed: 0.05 * (seed + 1), lambda seed: 0.01 * seed)
    assert "all observation-led in 2" in stays and "taken over" not in stays
    taken = said(lambda seed: 0.1 if seed < 4 else 0.9, lambda seed: 0.95 + 0.005 * seed)
    assert "all end label-led in 2" in taken and "none was won back" in taken
    assert "Of 8 models that went on by what was observed before beginning again was learnt, 8 label-led" in taken
    back = said(lambda seed: 0.9 if seed < 4 else 0.1, lambda seed: 0.02 if seed < 4 else 0.9)
    assert "none was won back" not in back and "-1.00" in back.split("What it goes with")[1]
