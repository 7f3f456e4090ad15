"""The experiment of unit 14 in small, and what it is made of."""

import json

import pytest

from course_utils.text_spotting import reproduce as experiment

pytestmark = pytest.mark.usefixtures("own_cache")

TINY = experiment.Settings(
    snapshots=20, held_out=4, detector_steps=2, recognizer_steps=2, frames=30, validation_films=(100,),
    test_films=(200,), shifted_films=(300,), windows=(1, 3), thresholds=(0.95,), supports=(0.2, 1.0), order_steps=1,
    stream_films=(400,), stream_stations=4, task_images=60, task_sizes=(784, 12, 8), task_epochs=2,
)  # fmt: skip


def test_no_film_serves_two_purposes():
    settings = experiment.Settings()
    seen = [*range(200, 206), *range(300, 303), *range(500, 506), 1000, 1001]  # when networks and policies were chosen
    films = [*settings.validation_films, *settings.test_films, *settings.shifted_films, *settings.stream_films, *seen]
    assert len(set(films)) == len(films)


def test_a_tiny_run_answers_all_questions(few_digits, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "FILM", {"stations": 4})
    results = experiment.run(1, tmp_path, few_digits, TINY)
    assert json.loads((tmp_path / "text_spotting.json").read_text()) == json.loads(json.dumps(results))
    assert results["seeds"] == {"asked": 1, "has": 1}
    (films,), (stream,), (orders,), (tasks,) = (results[name] for name in ("films", "stream", "orders", "tasks"))
    assert len(films["rows"]) == sum(3 if bits == 32 else 2 for _, bits in experiment.NETS)
    assert stream["films"][0].keys() == {"truth", "everything", "even", "early", "bursts"}
    assert len(orders["right"]) == 7
    assert tasks["PackNet"]["transfer"] == 0
