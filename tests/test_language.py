"""Prompts, alignment, scores: answers by hand, on tokenisers and models made here."""

import io
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from recall import figures
from recall.language import charts, lexicon, pretrain, prompts, scoring
from recall.language.lexicon import Lexicon, LexiconConfig, invented
from recall.language.prompts import CONDITIONS, PromptConfig, draw

transformers = pytest.importorskip("transformers")

WORDS = Lexicon(
    ("Uno", "Due"),
    ("cat", "dog", "sun", "tree", "rain"),
    (("gato", "felo"), ("paro", "hundo"), ("sola", "suno"), ("arbo", "baro"), ("pluvo", "regno")),
    ("known",) * 5,
)


def byte_pairs(texts, size=300, specials=("<end>",)):
    """A byte-level BPE tokeniser without a padding token, trained on `texts`: spaces merge into the words behind
    them.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(specials),
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")


class Chars:
    """A tokeniser of single characters, in which some strings are one token: it can merge over anything."""

    unk_token_id = bos_token_id = None

    def __init__(self, *merged):
        self.vocabulary = [*merged, *map(chr, range(32, 127)), "\n"]

    def encode(self, text, add_special_tokens=True):
        ids = []
        while text:
            token = next(i for i, piece in enumerate(self.vocabulary) if text.startswith(piece))
            ids.append(token)
            text = text[len(self.vocabulary[token]) :]
        return ids

    def decode(self, ids):
        return "".join(self.vocabulary[i] for i in ids)


# --- lexicon


@pytest.mark.parametrize("tasks, syllables", [(4, 8), (2, 3), (5, 5)])
def test_invented_tokens_are_uniform_independent_and_tell_the_task(tasks, syllables):
    words = invented(LexiconConfig(tasks, syllables, twins=7), seed=3)
    known = [row for row, kind in zip(words.targets, words.kinds) if kind == "known"]
    assert len(known) == syllables**2 and len(words.targets) == syllables**2 + 7
    for m in range(tasks):
        assert len({row[m] for row in known}) == syllables**2  # one-to-one: each (first, second) once
    assert all(len({lexicon.halves(word)[0] for word in row}) == tasks for row in known)
    assert words.entropies()[["first", "second"]].to_numpy() == pytest.approx(math.log2(syllables))
    twins = [row for row, kind in zip(words.targets, words.kinds) if kind == "twin"]
    for row in twins:
        halves = [lexicon.halves(word) for word in row]
        assert halves[0][0] == halves[1][0] and halves[0][1] != halves[1][1]
    assert invented(LexiconConfig(tasks, syllables, 7), 3) == words != invented(LexiconConfig(tasks, syllables, 7), 4)


def test_entropy_by_hand():
    assert lexicon.entropy(list("aabc")) == pytest.approx(1.5)
    pairs = Lexicon(
        ("X", "Y"), ("p", "q", "r", "s"), (("ab", "ab"), ("ac", "ab"), ("db", "ab"), ("db", "ab")), ("known",) * 4
    )
    assert pairs.entropies().to_numpy()[:, 1:].tolist() == [[1.0, 0.5], [0.0, 0.0]]  # a|b, a|c, d|b twice


def test_csv_goes_round(tmp_path):
    (tmp_path / "own.csv").write_text(WORDS.to_csv())
    assert lexicon.read(tmp_path / "own.csv") == WORDS
    committed = lexicon.read(lexicon.Path(__file__).parent.parent / "data" / "reference" / "words.csv")
    assert committed.tasks == ("Spanish", "French", "German", "Italian") and len(committed.sources) > 60


@pytest.mark.parametrize(
    "text, message",
    [
        ("English,Spanish\ncat,gato\n", "pairs must be a CSV file with a column `source`"),
        ("source,Spanish\ncat,gato\n", "lexicon must be of two tasks or more"),
        (
            "source,Spanish,French\ncat,gato,chat\ncat,gata,chatte\n",
            "lexicon must be without a source twice, not 'cat'",
        ),
        ("source,Spanish,French\ncat,gato,\n", "lexicon must be of words, none empty"),
        ("source,Spanish,French,kind\ncat,gato,chat,odd\n", "kind must be one of known, twin, context, not 'odd'"),
    ],
)
def test_bad_pairs_are_named(tmp_path, text, message):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        lexicon.read(tmp_path / "pairs.csv")


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


# --- prompts


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


# --- alignment


def test_spaces_merge_into_the_target():
    tokenizer = byte_pairs(["cat = gap dog = gas gale"] * 5)
    ids, start = scoring.align(tokenizer, "K: cat =", "gato")
    assert tokenizer.decode(ids[:start]) == "K: cat =" and [tokenizer.decode([i]) for i in ids[start:]] == [
        " ga",
        "t",
        "o",
    ]
    one = byte_pairs(["K: cat = gato"] * 50, size=400)
    assert len(one.encode(" gato")) == 1
    with pytest.raises(scoring.Unaligned, match="target must be two tokens or more: 'gato' is one for this tokeniser"):
        scoring.align(one, "K: cat =", "gato")


def test_a_lone_space_is_no_token_of_the_target():
    ids, start = scoring.align(Chars("ga"), "K: cat =", "gato")
    assert [Chars("ga").decode([i]) for i in ids[start:]] == ["ga", "t", "o"] and Chars("ga").decode(
        ids[:start]
    ) == "K: cat = "


def test_a_token_over_the_border_is_refused():
    with pytest.raises(scoring.Unaligned, match="target must begin with a token of its own: 'gato'"):
        scoring.align(Chars("= g"), "K: cat =", "gato")


def test_a_beginning_token_is_put_in_front():
    tokenizer = byte_pairs(["a b c"], specials=("<end>", "<s>"))
    tokenizer.bos_token = "<s>"
    bare = scoring.encode(tokenizer, "a b")
    assert bare[0] != tokenizer.bos_token_id  # this tokeniser adds none
    from tokenizers.processors import TemplateProcessing

    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A <end>", special_tokens=[("<s>", 1), ("<end>", 0)]
    )
    assert scoring.encode(tokenizer, "a b") == [tokenizer.bos_token_id, *bare]  # and no end


def test_refusals_name_the_target():
    tokens, refused = scoring.target_tokens(Chars(" gato"), WORDS)
    assert tokens[0][0] == () and len(tokens[0][1]) == 4 and all(map(all, tokens[1:]))
    assert refused.to_dict("records") == [
        dict(source="cat", task="Uno", reason="target must be two tokens or more: 'gato' is one for this tokeniser")
    ]


def test_our_tokeniser_reads_what_the_corpus_writes():
    for name in pretrain.RECIPES:
        words, config = pretrain.recipe(name, 1)
        tokenizer = pretrain.tokeniser(words, config.split)
        corpus = pretrain.Corpus(words, tokenizer, config, 1)
        ids = corpus.batch(5, 8)
        assert torch.equal(ids, corpus.batch(5, 8)) and not torch.equal(ids, corpus.batch(6, 8))
        for row in ids.tolist():
            text = "".join(
                piece if piece in ("\n", ":") or piece.startswith("##") else " " + piece
                for piece in tokenizer.convert_ids_to_tokens(row)
            ).replace("##", "")
            assert tokenizer.encode(text) == row and tokenizer.unk_token_id not in row
        assert not len(scoring.target_tokens(tokenizer, words)[1])


def test_documents_are_what_they_say():
    """Every line of a document agrees with the lexicon, twins stand under names alone, and both tokens are met
    equally often.
    """
    words, config = pretrain.recipe("invented", 2)
    tokenizer = pretrain.tokeniser(words, config.split)
    ids = pretrain.Corpus(words, tokenizer, config, 2).batch(0, 64)
    meaning = {source: dict(zip(words.tasks, row)) for source, row in zip(words.sources, words.targets)}
    twins, examples = {s for s, k in zip(words.sources, words.kinds) if k == "twin"}, 0
    for row in ids.tolist():
        bound = {}
        pieces = " ".join(tokenizer.convert_ids_to_tokens(row)).split(" \n")[:-1]
        for line in map(str.split, pieces):
            if ":" not in line:
                assert len(line) == 5
                continue
            source, label, _, first, second = line
            target, examples = first + second.removeprefix("##"), examples + 1
            if source == prompts.HIDDEN:
                continue
            named = label in words.tasks
            fits = {label} if named else {t for t in words.tasks if meaning[source][t] == target}
            bound[label] = bound.get(label, fits) & fits
            assert len(bound[label]) == 1 and meaning[source][next(iter(bound[label]))] == target
            assert named or source not in twins
    assert examples > 64 * 10


# --- scores


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


@pytest.mark.parametrize("kind", ["Olmo2", "GPTNeoX", "GPT2"])
def test_padding_changes_nothing(kind):
    """Sequences together equal each alone, with no padding token, for rotary and for learned positions."""
    torch.manual_seed(0)
    shape = dict(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        pad_token_id=None,
        bos_token_id=0,
        eos_token_id=0,
    )
    shape |= {} if kind == "GPT2" else dict(intermediate_size=32)
    model = getattr(transformers, f"{kind}ForCausalLM" if kind != "GPT2" else "GPT2LMHeadModel")(
        getattr(transformers, f"{kind}Config")(**shape)
    ).eval()
    sequences = [torch.randint(20, (n,)).tolist() for n in (4, 9, 6)]
    together = scoring.token_bits(model, sequences, [2, 6, 3])
    with torch.no_grad():
        for ids, start, found in zip(sequences, (2, 6, 3), together):
            alone = model(torch.tensor([ids])).logits[0].log_softmax(-1) / math.log(2)
            assert [t["bits"] for t in found] == pytest.approx(
                [alone[i - 1, ids[i]].item() for i in range(start, len(ids))], abs=1e-4
            )


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


def test_chart_takes_the_summary():
    frame = pd.concat(
        [
            gains({1: (0, 0, 0, 0, 3, 3), 2: (0, 2, 2, 2, 2, 2)}).assign(labels=labels, surprisal=3.0)
            for labels in ("arbitrary", "names")
        ]
    )
    chart = charts.language_gains(scoring.summary(frame).assign(words="invented", seed=0), under="names").to_dict()
    (text,) = [rows for rows in chart["datasets"].values() if isinstance(rows, str)]
    rows = pd.read_csv(io.StringIO(text)).set_index(["token", "under", "step"])["bits gained by the source"]
    assert rows["first token", "names", 800] == 3 and rows["second token", "arbitrary", 200] == 2
    both = pd.concat(
        [
            scoring.summary(frame).assign(words="invented", seed=0),
            scoring.summary(frame[frame.labels == "names"]).assign(words="words", seed=0),
        ]
    )
    gaps = [
        rows
        for rows in charts.language_gains(both).to_dict()["datasets"].values()
        if isinstance(rows, list) and rows and "words" in rows[0]
    ]
    # said where there is nothing to draw
    assert gaps == [[dict(lexicon="words", under="arbitrary", words="these words have no such prompts")]]
    assert figures.picture(charts.language_gains(scoring.summary(frame).assign(words="invented", seed=0))).startswith(
        b"<svg"
    )


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
