import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """What committed runs use, and what keeps small tensors fast."""
    torch.set_num_threads(1)
