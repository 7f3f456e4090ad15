"""What tests of several folders share."""

from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def depth(request) -> Callable:
    """`depth(quick, deep)` is how far a test goes under `make test` and under `make prove`, which runs whoever asks."""
    return lambda quick, deep: deep if request.config.getoption("prove") else quick


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks do not wait for threads, and rounding does not depend on the number of cores.

    For each test, as one before it may have set another number: numba's parallel kernels do, for the whole process.
    """
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Journals go to a folder of the test's own."""
    from course_utils.reproduce import journal

    monkeypatch.setattr(journal, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture(scope="session")
def few_digits():
    from course_utils.data import Digits, embedded_digits

    digits = embedded_digits()
    return Digits("few", *(part.subset(slice(200)) for part in (digits.train, digits.validation, digits.test)))
