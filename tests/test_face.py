"""`import recall`: a few names, imported when they are first used."""

import subprocess
import sys

import pytest

import recall


def test_the_names_are_there_and_say_how_they_are_used():
    for name in recall.__all__:
        assert f"recall.{name}" in getattr(recall, name).__doc__.replace("Explorer(", "recall.Explorer("), name
        assert name in dir(recall)
    with pytest.raises(AttributeError, match="module 'recall' has no attribute 'nothing'"):
        getattr(recall, "no" + "thing")


@pytest.mark.standard
def test_importing_costs_nothing():
    code = (
        "import sys, recall; print(recall.__version__, recall.__all__);"
        "assert not {'torch', 'numpy', 'pandas', 'altair'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
