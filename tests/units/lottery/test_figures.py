"""What the tables of lecture 07 decide by themselves."""

import pytest

from course_utils.lottery import figures


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.25, 0.5, 0.75], "confirmed"),
        ([0.1, 0.2, 0.3], "in direction only"),
        ([0.1, 0.2, 0.6], "consistent with it"),
        ([0.0, 0.9, 0.9], "not confirmed"),
        ([0.9, 0.9], "not testable with so few seeds"),
    ],
)
def test_a_claim_holds_in_every_seed_and_in_size(values, said):
    assert figures.verdict(values, published=0.5, nothing=0) == said


def test_the_first_round_of_the_tickets_is_the_dense_network():
    def row(condition: str, number: int, iteration: int) -> dict:
        return {"condition": condition, "round": number, "early_stop": iteration}

    tickets = [row("ticket", 0, 400), row("ticket", 1, 300)]
    results = {"runs": [{"seed": 4, "tickets": tickets, "controls": [row("reinitialized", 1, 700)]}]}
    assert figures.by_seed(results, "dense", 0, "early_stop") == {4: 400}
    assert figures.by_seed(results, "ticket", 1, "early_stop") == {4: 300}
    assert figures.by_seed(results, "reinitialized", 1, "early_stop") == {4: 700}
    assert figures.by_seed(results, "ticket", 0, "early_stop") == {}


def test_a_mask_that_did_not_settle_in_every_seed_is_told():
    def found(consecutive: int | None, five: int | None) -> dict:
        return {"consecutive": consecutive, "newest against four": None, "newest against five": five}

    runs = [
        {
            "settled": {"channels, 30%": found(epoch, 2), "channels, 50%": found(2, None)},
            "distances_to_last": {"channels, 30%": d, "channels, 50%": d},
        }
        for epoch, d in ((1, [0.25, 0.0]), (None, [0.5, 0.0]))
    ]
    table = figures.settling_table({"settings": {"epochs": 2}, "runs": runs})
    assert table.rows[0][1:5] == ["50 (50–50)% in 1 of 2 seeds", "never", "100 (100–100)%", "0.25 (0.25–0.25)"]
    assert table.rows[1][3] == "never"
    assert "channels, 30% kept 1 (the others 2)" in str(table)


def test_gains_are_taken_seed_by_seed():
    def row(condition: str, accuracy: float, remaining: float) -> dict:
        return {"task": "parity", "condition": condition, "accuracy": accuracy, "remaining": remaining}

    def run(seed: int, mask: float, dense: float) -> dict:
        rivals = [row(name, 0.5, 0.25) for name in figures.MASKED[1:]]
        return {
            "seed": seed,
            "rows": [row("pre-training's mask", mask, 0.25), row("dense, pre-trained", dense, 1.0), *rivals],
        }

    gains = figures.transfer_gains({"runs": {"digits": [run(0, 0.75, 0.5), run(1, 0.5, 0.75)]}})
    assert gains["digits", "parity", 0.25]["dense"] == [25, -25]
    assert gains["digits", "parity", 0.25]["shuffled mask"] == [25, 0]
    assert set(gains["digits", "parity", 0.25]) == set(figures.RIVALS)


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ([[True] * 3, [True] * 3], "confirmed (2 of 2 tasks)"),
        ([[True] * 3, [True, False, True]], "not confirmed (1 of 2 tasks)"),
        ([[True] * 3, [True] * 2], "not testable with so few seeds"),
    ],
)
def test_a_claim_of_masks_holds_for_all_tasks_in_every_seed(holds, said):
    assert figures.in_every_task(holds) == said


def test_claims_of_masks_are_judged_by_their_own_rival():
    rivals = {rival: [0.5, 0.5, 0.5] for rival in figures.RIVALS}
    gains = {
        ("text", "which", 0.25): rivals | {"dense": [-0.5, 0, 2], "magnitude": [0.5, 1.5, 0.5]},
        ("text", "whole", 0.25): rivals | {"dense": [-0.5, -1.5, 2], "shuffled mask": [0.5, 0, 0.5]},
        ("text", "which", 0.5): rivals | {"the task's own mask": [-3, 3, 3], "weights from scratch": [1, 1, -1]},
    }
    yes, no = "confirmed", "not confirmed"
    quarter, half = figures.transfer_claims(gains).rows
    assert quarter[:2] == ["text", "25.0%"]
    assert [cell.split(" (")[0] for cell in quarter[2:]] == [no, no, yes, yes, yes, no]
    assert [cell.split(" (")[0] for cell in half[2:]] == [yes, yes, no, no, yes, yes]


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        ({0.3: [0, 0, 2], 0.1: [1.5, 2, 3], 0.01: [4, 4, 4]}, "10.0%"),
        ({0.3: [2, 2, 2], 0.1: [1.5, 0.5, 3], 0.01: [4, 4, 4]}, "1.0%"),
        ({0.3: [2, 2, 2], 0.1: [2, 2, 2], 0.01: [4, 1, 4]}, "no size"),
        ({0.3: [2, 2, 2], 0.1: [2, 2]}, "not testable with so few seeds"),
    ],
)
def test_masks_part_where_one_stays_ahead_in_every_seed(ahead, said):
    assert figures.parts_at(ahead) == said


def test_curves_have_a_panel_for_each_task_and_a_point_for_each_size(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures.plots, "show", lambda figure, alt: drawn.append((figure, alt)))

    def run(seed: int, task: str, sizes: list[float]) -> dict:
        rows = [(name, 1.0, 0.9) for name in figures.WHOLE]
        rows += [(name, size, size) for name in figures.MASKED for size in sizes]
        names = ("condition", "remaining", "accuracy")
        return {"seed": seed, "rows": [{"task": task, **dict(zip(names, row, strict=True))} for row in rows]}

    runs = {name: [run(seed, name, sizes) for seed in range(3)] for name, sizes in (("a", [0.5, 0.25]), ("b", [0.5]))}
    figures.transfer_curves({"runs": runs | {"c": [run(0, "c", [0.5])]}})
    figure, alt = drawn[0]
    lines = figure.axes[0].lines
    assert len(figure.axes) == 3 and len(lines) == len(figures.MASKED) + len(figures.WHOLE)
    assert list(lines[0].get_xdata()) == list(lines[0].get_ydata()) == [50, 25]
    assert "a, a: no size; b, b: no size; c, c: not testable" in alt


def test_a_run_that_was_ended_has_a_lower_bound():
    settings = {"most_iterations": 20_000, "patience": 3_000}
    assert figures.censored(settings, 17_200) and not figures.censored(settings, 17_000)


def early_bird_results(settled: int, wrong: dict[str, int], epochs: int = 100) -> dict:
    def way(errors: int) -> dict:
        return {"test_errors": errors, "seconds": 1.0, "modelled_joules": 1.0, "macs": 1}

    found = {"consecutive": settled, "newest against four": settled, "newest against five": settled + 2}
    ways = {name: way(errors) for name, errors in wrong.items()}
    run = {"settled": {"channels, 50%": found}, "dense": way(30), "ways": {"50%": ways}}
    run["few"] = {"settled": settled, "masks_apart": 0.25}
    run["distances_to_last"] = {"channels, 50%": [0.0] * epochs}
    return {
        "settings": {"epochs": epochs, "window": 5, "cut_to": 0.5, "comparable": 1.0, "gamma_decay": 0.001},
        "data": {"test": 1000, "few": 350},
        "paper": {"found_by": 0.2, "energy": 4.7},
        "runs": [run] * 3,
    }


AGAIN, EARLY, RANDOM, SCRATCH, ANEW, SEARCHED = (
    "dense, then cut and train again",
    "early bird",
    "random channels, as many",
    "its widths from scratch",
    "early bird, weights drawn anew",
    "early bird, its mask from a tenth of the images",
)


def test_a_rule_that_cannot_say_yes_is_told():
    wrong = dict.fromkeys((AGAIN, EARLY, RANDOM, SCRATCH, ANEW, SEARCHED), 35)
    row = figures.early_bird_claims(early_bird_results(8, wrong, epochs=30)).rows[0]
    assert row[3].startswith("not testable: with 30 epochs 20%")


@pytest.mark.parametrize(
    ("settled", "early", "control", "said"),
    [
        (18, 40, 50, [True, True, True, True, True, True, True, True, False, False]),
        (19, 41, 41, [True, True, False, False, True, False, False, False, False, False]),
        (25, 30, 25, [False, False, False, True, True, False, False, False, False, False]),
    ],
)
def test_claims_on_early_birds_can_say_no(settled, early, control, said):
    wrong = {AGAIN: 40, EARLY: early, RANDOM: control, SCRATCH: control, ANEW: control, SEARCHED: early}
    *rows, energy = figures.early_bird_claims(early_bird_results(settled, wrong)).rows
    assert [row[3].split(" (")[0] == "confirmed" for row in rows] == said
    assert energy[3] == "not testable here"


def test_controls_stand_beside_what_they_control():
    results = early_bird_results(8, {SCRATCH: 35})
    results["settings"] |= {"keep": [0.5]}
    results["runs"][0]["ways"]["50%"][SCRATCH]["widths"] = [2, 4]
    even = {"test_errors": 36, "widths": [3, 3], "macs": 1}
    never = {"consecutive": None, "newest against four": 9, "newest against five": None}
    penalized = [run | {"settled": {"channels, 50%": never}} for run in results["runs"]]
    controls = {"penalties": {"0": penalized}, "even": {"50%": [even, even, even | {"test_errors": 35}]}}
    found, same = figures.widths_table(controls, results).rows
    assert found[2] == "2–4" and same[2] == "3–3" and found[5] == "not confirmed (2 of 3 seeds)"
    first, second, *_ = figures.penalty_table(controls, results).rows
    assert first[:3] == ["0", figures.RULES["consecutive"], "–, 3 never"] and second[2] == "9 (9–9)%"
    assert (first[3], second[3]) == ("not confirmed (0 of 3 seeds)", "confirmed (3 of 3 seeds)")
    assert figures.penalty_table(controls, results).rows[3][:3] == ["0.001", first[1], "8 (8–8)%"]


@pytest.mark.parametrize(("searched", "said"), [(45, [True, True]), (46, [False, True]), (50, [False, False])])
def test_the_search_on_few_images_is_judged(searched, said):
    wrong = {EARLY: 35, RANDOM: 50, SEARCHED: searched}
    rows = figures.few_images_table(early_bird_results(8, wrong)).rows[-2:]
    assert [row[2].startswith("confirmed") for row in rows] == said


@pytest.mark.parametrize(
    ("ticket", "rival", "said"),
    [
        (10.05, 11.0, [True, True, False, True, True, True, False, True, True, True]),
        (10.2, 10.2, [True, True, False, False, False, False, False, False, False, True]),
    ],
)
def test_claims_on_transformers_are_decided_seed_by_seed(ticket, rival, said):
    names = ("first weights", "trained on")
    brings = {f"early bird, {name}": ticket for name in names} | {f"random mask, {name}": rival for name in names}
    brings |= {"its widths from scratch": rival, "early bird, trained on": (ticket + rival) / 2}
    ways = {way: {"test": value, "seconds": 1.0, "macs": 1} for way, value in brings.items()}
    found = {"consecutive": 20, "newest against four": 20, "newest against five": 21}
    run = {
        "settled": {"half": found},
        "dense": {"test": 10.0, "seconds": 2.0, "macs": 2},
        "ways": {"half": ways},
    }
    results = {"settings": {"comparable": 1.0, "looks": 100}, "runs": {"text": [run] * 3}}
    rows = figures.transformer_claims(results).rows
    assert [": confirmed" in row[1] for row in rows] == said


def test_a_barrier_is_measured_from_the_mean_of_the_ends():
    assert figures.barrier([10, 30, 20]) == 15
    assert figures.barrier([10, 5, 20]) == 5  # an end is a point of the line, too
    assert figures.barrier([4, 2, 4]) == 0


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ([True] * 3, "confirmed (3 of 3 seeds)"),
        ([True, False, True], "not confirmed (2 of 3 seeds)"),
        ([True] * 2, "not testable with so few seeds"),
    ],
)
def test_a_claim_holds_in_every_seed(holds, said):
    assert figures.in_every_seed(holds) == said


def test_claims_on_rewinding_are_decided_seed_by_seed():
    def found(hill: float, ticket: float) -> dict:
        line = [10.0, 10.0 + hill, 10.0]
        return {"dense": line, "ticket": [ticket, ticket, ticket], "at once": 12.0, "shuffled": 20.0}

    def run(first: float, later: float, ticket: float) -> dict:
        return {"from": {"0": found(first, ticket), "9": found(later, 9.5)}}

    results = {
        "settings": {"rewound_to": [0, 9]},
        "stable": 2.0,
        "runs": {"A": [run(0, 0, 9)] * 3, "B": [run(5, 0, 12), run(5, 0, 12), run(5, 3, 10)]},
    }
    said = [row[2].split(" (")[0] for row in figures.connectivity_claims(results).rows]
    yes, no = "confirmed", "not confirmed"
    assert said == [yes, yes, no, *(yes, yes, no, yes, yes), *(yes, no, yes, no, yes)]
    assert figures.connectivity_table(results).rows[2][2] == "5.0 (5.0–5.0)"
