"""The playground's chapter, opened; its models; a run of one's own."""

import pytest
from made_explorer import tiny

from recall import training
from recall.explorer import page


@pytest.fixture(scope="session")
def models():
    return page.listed()


@pytest.fixture
def playground(visit):
    tab = visit("09_playground")
    tab.wait_for_selector(".recall-play[data-state=first]")
    return tab


@pytest.fixture
def small_final(monkeypatch):
    """The last evaluation of a run on few prompts."""
    monkeypatch.setattr(training, "FINAL_HAYSTACKS", 2)
    monkeypatch.setattr(training, "FINAL_TRACES", 3)


@pytest.fixture
def trained_folder(tmp_path, small_final):
    """A finished run with checkpoints at steps 0 and 2."""
    config = tiny(2)
    training.train(config, tmp_path / config.name)
    return tmp_path / config.name
