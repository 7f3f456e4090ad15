"""What the tests of the paper-scale runs share."""

import pytest
import torch

from course_utils import reproduce
from course_utils.data import Digits, embedded_digits


@pytest.fixture
def one_thread_and_own_cache(tmp_path, monkeypatch):
    """Journals go to a folder of the test's own, and small networks do not wait for threads."""
    monkeypatch.setattr(reproduce, "cache_folder", lambda: tmp_path / "cache")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def few_digits():
    digits = embedded_digits()
    return Digits("few", *(part.subset(slice(200)) for part in (digits.train, digits.validation, digits.test)))
