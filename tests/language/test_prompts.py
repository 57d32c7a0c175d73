"""Prompts of several labelled tasks and their edits."""

import pytest
from made_language import WORDS

from recall.language import lexicon, prompts
from recall.language.lexicon import LexiconConfig, invented
from recall.language.prompts import CONDITIONS, PromptConfig, draw


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("tasks", 1, "tasks must be 2 to 4, not 1"),
        ("needle", 4, r"needle must be 0 to tasks - 1 \(3\), not 4"),
        ("shots", 0, "shots must be at least 1, not 0"),
        ("count", 0, "count must be at least 1, not 0"),
    ],
)
def test_bad_prompt_configs(field, value, message):
    with pytest.raises(ValueError, match=message):
        PromptConfig(**{field: value})


def drawn(count=40, **how):
    words = invented(LexiconConfig(), 0)
    tokens = [[tuple(map(hash, lexicon.halves(word))) for word in row] for row in words.targets]
    names, twins = how.pop("names", False), how.pop("twins", False)
    return words, draw(words, tokens, PromptConfig(count=count, **how), names=names, twins=twins)


def test_prompt_text_is_lines_and_a_query_without_a_last_space():
    prompt = prompts.Prompt(
        (("K", "gub", "bako"), ("R", "lom", "dise")),
        "K",
        "zim",
        "misu",
        None,
        ("K", "R"),
        "B",
        ("misu", "tora"),
        0,
        None,
        "lul",
    )
    assert prompt.text == "gub K: bako\nlom R: dise\nzim K:"
    text = {
        name: (edit(prompt).text.splitlines()[-1], edit(prompt).target, edit(prompt).rival)
        for name, (_, edit) in CONDITIONS.items()
        if name != "synchronised"
    }
    assert text == {
        "plain": ("zim K:", "misu", None),
        "no source": ("? K:", "misu", None),
        "wrong source": ("lul K:", "misu", None),
        "unseen": ("zim B:", "misu", None),
        "misdirected": ("zim R:", "misu", "tora"),
    }


@pytest.mark.parametrize("needle", [0, 2])
def test_prompts_are_the_needle_design(needle):
    words, made = drawn(needle=needle, shots=3)
    meaning = {source: dict(zip(words.tasks, row)) for source, row in zip(words.sources, words.targets)}
    for p in made:
        assert [label for label, _, _ in p.lines] == [label for label in p.labels for _ in range(3)] and len(
            set(p.labels)
        ) == 4
        said = [source for _, source, _ in p.lines]
        assert len({*said, p.source, p.other}) == len(said) + 2  # no example gives the answer away
        task = {
            label: {t for t in words.tasks if all(meaning[s][t] == target for l, s, target in p.lines if l == label)}
            for label in p.labels
        }
        assert all(len(found) == 1 for found in task.values())  # examples tell which task a label is
        assert p.label == p.labels[needle] and p.target == meaning[p.source][task[p.label].pop()] == p.answers[needle]
        assert p.unseen not in p.labels and len({answer[:2] for answer in p.answers}) == 4
    assert {p.label for p in made} == set(prompts.LABELS)  # labels are drawn anew
    assert drawn(needle=needle, shots=3)[1] == made


def test_twins_names_and_shown():
    for p in drawn(twins=True)[1] + drawn(twins=True, tasks=3)[1] + drawn(twins=True, tasks=2)[1]:
        rival = CONDITIONS["synchronised"][1](p).rival
        assert rival != p.target and rival[:2] == p.target[:2]
    words, named = drawn(names=True)
    assert {p.label for p in named} == set(words.tasks)
    words, shown = drawn(shown=True, shots=3)
    for p in shown:
        for label in p.labels:
            group = {source for l, source, _ in p.lines if l == label}
            assert p.source in group and len(group) == 3
        assert (p.label, p.source, p.target) in p.lines


def test_too_small_a_lexicon_is_refused():
    tokens = [[(0, 1), (2, 3)] for _ in WORDS.sources]
    with pytest.raises(ValueError, match=r"tasks must be at most the lexicon's \(2\), not 3"):
        draw(WORDS, tokens, PromptConfig(tasks=3))
    with pytest.raises(
        ValueError,
        match="lexicon must be of more than 5 known sources, targets of two tokens or more, not .5 usable of 5",
    ):
        draw(WORDS, tokens, PromptConfig(tasks=2, shots=2))
    with pytest.raises(
        ValueError,
        match="lexicon must be of enough known sources, targets of two tokens or more, whose first tokens differ, "
        "not .0 usable of 5",
    ):
        draw(WORDS, [[(0, 1), ()] for _ in WORDS.sources], PromptConfig(tasks=2, shots=1))
