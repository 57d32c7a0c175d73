"""What is translated into what: counted, and read back."""

import math

import pytest
from made_language import WORDS

from recall import runs
from recall.language import lexicon
from recall.language.lexicon import Lexicon, LexiconConfig, invented


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
    (tmp_path / "own.csv").write_text(WORDS.to_csv(), encoding="utf-8")
    assert lexicon.read(tmp_path / "own.csv") == WORDS


@pytest.mark.standard
def test_committed_words_are_five_languages():
    committed = lexicon.read(runs.data_folder() / "reference" / "words.csv")
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
    (tmp_path / "pairs.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        lexicon.read(tmp_path / "pairs.csv")


def test_what_a_file_says_is_what_is_read(tmp_path):
    """A sharp sign is no comment; another encoding is named with its file, and so is a column without a name."""
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("# tones\nsource,A,B\nsharp,do,C#\nflat,re,Db\n", encoding="utf-8")
    assert lexicon.read(pairs).targets == (("do", "C#"), ("re", "Db"))
    pairs.write_bytes("source,A,B\nx,y,z\n".encode("utf-16"))
    with pytest.raises(ValueError, match=f"pairs must be a CSV file in UTF-8: {pairs}: "):
        lexicon.read(pairs)
    pairs.write_text("source,A\nx,y,z\nu,v,w\n", encoding="utf-8")
    with pytest.raises(ValueError, match="pairs must be a CSV file with a name for each of its columns"):
        lexicon.read(pairs)
