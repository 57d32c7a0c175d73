"""Alignment of targets with tokens, and what is made of log-probabilities: answers by hand."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from made_language import WORDS, Chars

from recall.language import prompts, scoring


def test_a_lone_space_is_no_token_of_the_target():
    ids, start = scoring.align(Chars("ga"), "K: cat =", "gato")
    assert [Chars("ga").decode([i]) for i in ids[start:]] == ["ga", "t", "o"] and Chars("ga").decode(
        ids[:start]
    ) == "K: cat = "


def test_a_token_over_the_border_is_refused():
    with pytest.raises(scoring.Unaligned, match="target must begin with a token of its own: 'gato'"):
        scoring.align(Chars("= g"), "K: cat =", "gato")


def test_refusals_name_the_target():
    tokens, refused = scoring.target_tokens(Chars(" gato"), WORDS)
    assert tokens[0][0] == () and len(tokens[0][1]) == 4 and all(map(all, tokens[1:]))
    assert refused.to_dict("records") == [
        dict(source="cat", task="Uno", reason="target must be two tokens or more: 'gato' is one for this tokeniser")
    ]


def test_a_question_holds_the_rivals_tokens_that_differ():
    prompt = prompts.Prompt(
        (("K", "cat", "gato"),), "K", "dog", "paro", None, ("K", "R"), "B", ("paro", "puro"), 0, 1, "sun"
    )
    asked = scoring.ask(Chars(" p"), [prompt], ["plain", "misdirected", "synchronised"])
    assert asked.keys == [(0, "plain"), (0, "misdirected"), (0, "synchronised")]
    read = Chars(" p").decode
    assert [read(ids[start:]) for ids, start in zip(asked.sequences, asked.starts)] == [" pa"] * 3  # two tokens
    assert [read(ids[:start]).splitlines()[-1] for ids, start in zip(asked.sequences, asked.starts)] == [
        "dog K:",
        "dog R:",
        "dog K:",
    ]
    assert [{k: read([token]) for k, token in rival.items()} for rival in asked.rivals] == [{}, {1: "u"}, {1: "u"}]


class Table(torch.nn.Module):
    """A model whose next-token probabilities depend on the last token only."""

    def __init__(self, probabilities):
        super().__init__()
        self.log = torch.nn.Parameter(torch.tensor(probabilities).log())
        self.config = SimpleNamespace(vocab_size=len(probabilities))
        self.calls = []

    def forward(self, input_ids, attention_mask, use_cache):
        self.calls.append(tuple(input_ids.shape))
        return SimpleNamespace(logits=self.log[input_ids] + 5.0)


def test_token_bits_by_hand(monkeypatch):
    model = Table([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [0.25, 0.5, 0.25]])
    found = scoring.token_bits(model, [[0, 1, 2, 1], [0, 0, 1]], [2, 1], [{0: 0}, {}])
    assert [[t["bits"] for t in s] for s in found] == [pytest.approx([math.log2(0.75), -1]), pytest.approx([-1, -2])]
    assert [[t["correct"] for t in s] for s in found] == [[True, True], [True, False]]
    assert (
        found[0][0]["rival"] == pytest.approx(-3)
        and math.isnan(found[0][1]["rival"])
        and math.isnan(found[1][0]["rival"])
    )
    monkeypatch.setattr(scoring, "LOGITS", 3 * 4)  # one sequence at a time gives the same
    assert scoring.token_bits(model, [[0, 1, 2, 1], [0, 0, 1]], [2, 1])[1] == [
        t | {"rival": pytest.approx(math.nan, nan_ok=True)} for t in found[1]
    ]
    assert model.calls == [(2, 4), (1, 4), (1, 3)]


def rows(revision, step, bits, labels="arbitrary", rival=math.nan):
    """Score rows of one prompt from {condition: (bits of token 1, of token 2)}."""
    return [
        dict(
            revision=revision,
            step=step,
            labels=labels,
            prompt=0,
            condition=condition,
            k=k + 1,
            token=7 + k,
            bits=value,
            correct=value > -1,
            rival=rival,
        )
        for condition, values in bits.items()
        for k, value in enumerate(values)
    ]


def test_bits_gained_by_hand():
    scores = pd.DataFrame(
        rows(
            "step1",
            1,
            {"plain": (-0.5, -0.25), "no source": (-3, -2), "wrong source": (-7, -2.5), "unseen": (-2, -0.5)},
        )
        + rows("step1", 1, {"misdirected": (-3, -1)}, rival=-1.0)
    )
    frame = scoring.per_prompt(scores).set_index("k")
    assert frame[["accuracy", "surprisal", "gained", "gained_wrong", "gained_label"]].to_numpy().tolist() == [
        [1, 3, 2.5, 6.5, 1.5],
        [1, 2, 1.75, 2.25, 0.25],
    ]
    assert frame.label_led.tolist() == pytest.approx([0.8, 0.5])  # 2^-1 against 2^-3; alike
    assert frame.synchronised.isna().all()


def test_share_of_twins():
    """Two targets that share the first token: all for one, or halves."""
    assert scoring.share(pd.Series([0.0, 1.0, -math.inf])).tolist() == pytest.approx([1 / 2, 2 / 3, 0])


def test_matched_pairs_are_alike_in_bits_and_in_rank():
    make = lambda prompt, bits, tokens: [
        dict(labels="names", prompt=prompt, condition="no source", k=k + 1, bits=-b, token=t)
        for k, (b, t) in enumerate(zip(bits, tokens))
    ]
    scores = pd.DataFrame(make(0, (3, 3.5), (99, 150)) + make(1, (3, 1.5), (99, 150)) + make(2, (3, 3), (99, 900)))
    assert scoring.matched(scores) == {("names", 0)}


def gains(curves, prompts=6):
    steps = [0, 100, 200, 400, 800, 1600]
    return pd.DataFrame(
        [
            dict(revision=f"step{s}", step=s, labels="arbitrary", prompt=p, k=k, gained=g, surprisal=5 - k)
            for k, curve in curves.items()
            for s, g in zip(steps, curve)
            for p in range(prompts)
        ]
    )


def test_emergence_at_half_the_final_gain():
    found = scoring.emergence(gains({1: (0, 0, 0, 0, 3, 3), 2: (0, 2, 2, 2, 2, 2)})).iloc[0]
    # interpolated linearly from the untrained, then in logs
    assert found["second"] == pytest.approx(50) and found["first"] == pytest.approx(400 * 2**0.5)
    assert found.octaves == pytest.approx(3.5) and (found.low, found.high) == (pytest.approx(3.5), pytest.approx(3.5))
    # at 2 of 4 and 1.5 of 3 bits
    assert found.whole_first == pytest.approx(400 * 2 ** (2 / 3)) and found.whole_second == pytest.approx(75)
    never = scoring.emergence(gains({1: (0, 0, 0, 0, 0, 0.05), 2: (0, 2, 2, 2, 2, 2)})).iloc[0]
    assert math.isnan(never["first"]) and math.isnan(never.octaves) and math.isnan(never.low)


def test_intervals_are_over_prompts():
    frame = gains({1: (0,) * 6}, prompts=200).assign(gained=lambda f: f.prompt % 2)
    found = scoring.summary(frame).query("quantity == 'gained'")
    assert (found["mean"] == 0.5).all() and (found.prompts == 200).all()
    assert ((found.high - found.low).between(0.10, 0.18)).all()  # 2 * 1.96 * sqrt(0.25 / 200) = 0.139
