"""Lexicons and tokenisers made for tests."""

from recall.language.lexicon import Lexicon

WORDS = Lexicon(
    ("Uno", "Due"),
    ("cat", "dog", "sun", "tree", "rain"),
    (("gato", "felo"), ("paro", "hundo"), ("sola", "suno"), ("arbo", "baro"), ("pluvo", "regno")),
    ("known",) * 5,
)


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
