"""What the tables of lecture 10 decide by themselves."""

import math

import pytest
import torch

from course_utils.moe import figures
from course_utils.moe.model import VOCABULARY, CharTransformer, Corpus, MoELayer, Switch
from course_utils.moe.widgets import router_probabilities


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ([True, True], "confirmed (2 of 2 seeds)"),
        ([True, False], "not confirmed (1 of 2 seeds)"),
        ([], "not measured yet"),
    ],
)
def test_a_claim_holds_in_every_seed(holds, said):
    assert figures.verdict(holds) == said


def test_claims_compare_networks_of_the_same_seed():
    def row(seed: int, perplexity: float) -> dict:
        return {"seed": seed, "perplexity": perplexity, "max_over_mean": 1.0, "rank": 1.0}

    runs = {"switch": [row(1, 5.0), row(0, 2.0)], "dense": [row(0, 3.0), row(1, 6.0), row(2, 1.0)]}
    times = {"ours, ReLU experts": [0.9, 1.0, 1.1]}
    parts = [
        {"experts": n, "milliseconds_per_token": {k: [n * t for t in v] for k, v in times.items()}} for n in (1, 2)
    ]
    results = {"runs": runs, "settings": {"steps": 600}}
    curves = {"runs": {"switch": [row(0, 3.0)], "dense": [row(0, 2.0)]}, "settings": {"steps": 2400}, "goal": 0.9}
    table = figures.claims_table({"races": [{"tokens": 8, "rows": parts}]}, results, curves)
    here = dict(table.rows)
    sparse, hashed = (
        "Sparse (switch) beats dense at equal work (Fedus)",
        "Hash routing is as good as a learned switch (Roller)",
    )
    assert here[f"{sparse}, 600 steps"] == "confirmed (2 of 2 seeds)"
    assert here[f"{sparse}, 2,400 steps"] == "not confirmed (0 of 1 seeds)"
    assert here[f"{hashed}, 600 steps"] == here[f"{hashed}, 2,400 steps"] == "not measured yet"
    flat = "Time for a token is flat in the number of experts, within 1.3 (4 to 64)"
    assert here[flat].endswith("8 tokens: not confirmed")


def test_the_wide_network_has_to_beat_every_sparse_one_in_each_seed():
    def rows(*perplexities: float) -> list[dict]:
        return [{"seed": seed, "perplexity": value, "rank": 1.0} for seed, value in enumerate(perplexities)]

    runs = {"dense, wide": rows(2.0, 2.0), "switch": rows(3.0, 3.0), "hash": rows(3.0, 1.0)}
    table = figures.claims_table({"races": []}, {"runs": runs, "settings": {"steps": 600}})
    wide = "Dense with as many parameters, eight times as wide, beats every sparse layer, 600 steps"
    assert dict(table.rows)[wide] == "not confirmed (1 of 2 seeds)"


def test_the_report_counts_what_was_won_and_what_many_experts_add():
    def row(experts: int, **medians: float) -> dict:
        names = {
            "swiglu": "ours, SwiGLU experts",
            "relu": "ours, ReLU experts",
            "control": figures.CONTROL,
            "router": figures.ROUTER,
            "topk": figures.TOPK,
        }
        named = {names.get(name, name): [0.001, value / 1000, experts] for name, value in medians.items()}
        times = named | {"st-moe": [0.001, 0.005, 9.0]}
        return {"experts": experts, "milliseconds_per_token": times, "equal_to_st_moe": 1 - experts / 100}

    rows = [
        row(4, swiglu=6, topk=7, relu=4, control=4, router=0.5, eager=6, grouped_mm=5),
        row(64, swiglu=8, topk=8.5, relu=5.5, control=4.5, router=0.75, eager=9, grouped_mm=9),
    ]
    report = figures.race_report({"races": [{"tokens": 2048, "rows": rows}]})
    assert "SwiGLU experts not slower than eager: 2 of 2" in report
    assert "SwiGLU experts not slower than grouped_mm: 1 of 2" in report
    assert "torch.topk not slower than eager: 1 of 2" in report
    assert "ReLU experts not slower than st-moe: 1 of 2" in report
    assert "the faster router at each: slowest / fastest 1.33" in report
    assert "a share of all: [0.96, 0.36]" in report
    assert "64 against 4: 1.50 more" in report and "1.38 (1.00, 16.00)" in report
    assert "to read weights 1.00, the router 0.25, others 0.25" in report


def test_the_goal_is_one_for_every_seed_after_each_training():
    def trained(steps: int, *perplexities: float) -> dict:
        switch = [{"seed": seed, "perplexity": value} for seed, value in enumerate(perplexities)]
        dense = [{"seed": seed, "perplexity": 10.0} for seed in range(3)]
        return {"runs": {"switch": switch, "dense": dense[::-1]}, "settings": {"steps": steps}}

    last = trained(2400, 9.0, 9.31) | {"goal": 0.93}
    assert figures.goal_words(trained(600, 9.0, 9.3), last).splitlines()[1:] == [
        "After 600 steps 0.900, 0.930: reached.",
        "After 2,400 steps 0.900, 0.931: reached in 1 of 2 seeds, so not reached.",
    ]


def test_what_stands_in_both_texts_is_counted():
    new, old = torch.arange(20), torch.arange(20, 40)
    corpus = Corpus({"prose": old, "code": old}, {}, {"prose": torch.cat([new, old[5:12], new[:3]]), "code": new})
    lines = figures.repeated_words(corpus, length=6).splitlines()
    assert [line.split() for line in lines[1:]] == [["prose", f"{7 / 30:.1%}"], ["code", "0.0%"]]


def test_languages_are_compared_seed_by_seed():
    rows = {
        name: [{"seed": i, "loss": {"prose": loss + i, "sums": 1.0}} for i in (0, 1)]
        for name, loss in (("dense", 1.0), ("switch", 1.0 + math.log(0.9)))
    }
    rows["dense"].reverse()
    words = figures.language_words({"runs": rows, "settings": {"steps": 2400}})
    assert [line.split() for line in words.splitlines()[1:]] == [
        ["prose", "0.900,", "0.900"],
        ["sums", "1.000,", "1.000"],
    ]


def test_a_lead_grows_or_shrinks_in_every_seed_or_not():
    def trained(steps: int, **perplexities: tuple[float, float]) -> dict:
        rows = {n: [{"seed": i, "perplexity": p} for i, p in enumerate(both)] for n, both in perplexities.items()}
        return {
            "runs": {"dense": [{"seed": i, "perplexity": steps} for i in (0, 1)]} | rows,
            "settings": {"steps": steps},
        }

    first = trained(10, up=(5.0, 6.0), down=(5.0, 6.0), both=(5.0, 6.0))
    last = trained(2000, up=(1002.0, 1300.0), down=(900.0, 1100.0), both=(900.0, 1300.0))
    words = "From 10 to 2,000 steps, by dense, in every seed:\n  lower: down\n  higher: up"
    assert figures.lead_words(first, last) == words


def test_a_network_that_was_not_trained_stays_in_the_table():
    row = {"perplexity": 2.0, "max_over_mean": 1.0, "dropped": 0.0, "rank": 3.0, "parameters": 10, "ffn_macs": 20}
    table = figures.networks_table({"runs": {"dense": [row, row]}}, {"dense": "dense", "1 of 8": "switch"})
    assert table.rows[1] == ["1 of 8", 0, *6 * ["—"]]
    assert "1 of 8 0 (the others 2)" in str(table)


def test_words_say_how_experts_divide_two_tasks():
    where = torch.tensor([[100, 95, 50, 0, 0], [0, 5, 50, 0, 200]])
    assert figures.divided(where) == (
        "of 5 experts 3 serve one task almost alone, 1 both, and nothing or next to nothing goes to 1"
    )


def test_the_router_is_seen_as_it_chooses():
    torch.manual_seed(0)
    model = CharTransformer(lambda: MoELayer(Switch(8, 4), 8, 8, 4), VOCABULARY, width=8, heads=2, blocks=1)
    probabilities = router_probabilities(model, "ab")
    assert probabilities.shape == (2, 4)
    assert torch.equal(probabilities.argmax(1), model.moe_layers()[0].routing.experts)


def test_words_name_who_is_below_in_every_seed():
    def rows(*perplexities: float) -> list[dict]:
        return [{"seed": seed, "perplexity": value} for seed, value in enumerate(perplexities)]

    curves = {"runs": {"dense": rows(3.0, 2.0), "switch": rows(2.0, 1.9), "hash": rows(1.0, 2.5)}}
    assert figures.curves_words(curves).splitlines() == [
        "Below dense in every seed: switch.",
        "Below dense, wide in every seed: none.",
        "Below switch in every seed: none.",
    ]


def test_leak_and_mismatch_are_told_apart():
    def row(own: float, other: float, running: float, best: float) -> dict:
        return {
            "rules": {
                "expert choice": {"own future": own, "another future": other},
                "running choice": {"own future": running},
                "each token's best expert": {"own future": best},
            }
        }

    trained = {"rules": {"running choice": {"own future": 5.0}}}
    rows = [row(4.0, 5.0, 6.0, 5.5), row(4.0, 4.5, 4.0, 5.5), row(4.0, 4.5, 6.0, 5.5)]
    results = {"runs": {"expert choice": rows, "running choice": [trained] * 3}}
    leak, mismatch, both, rest = (row[1:] for row in figures.leak_claims(results).rows)
    assert leak == ["0.667 (0.500–1.000)", "confirmed (3 of 3 seeds)"]
    assert mismatch[1] == "not confirmed (2 of 3 seeds)"
    assert both[1] == "confirmed (3 of 3 seeds)" and rest[1] == "not confirmed (0 of 3 seeds)"


@pytest.fixture
def drift():
    """Two seeds, one layer: the switch network's states move into the router's span, the frozen one's in one seed."""

    def look(router: float, first: float, clustering: float) -> dict:
        return {"step": 0, "router": [router], "first router": [first], "best": [0.9], "clustering": [clustering]}

    def explained(language: float, symbol: float, both: float) -> list[dict]:
        return [{"language": language, "symbol": symbol, "symbol and language": both}]

    experts = {
        "untrained network": explained(0.1, 0.4, 0.5),
        "untrained router": explained(0.3, 0.4, 0.5),
        "trained": explained(0.2, 0.6, 0.62),
    }
    switch = {
        "curve": [look(0.1, 0.1, 0), look(0.2, 0.1, 5), look(0.4, 0.2, 9)],
        "experts": experts,
        "loss": {"prose": 1.0, "images": 2.0},
    }
    frozen = [{"curve": [look(0.1, 0.1, 0), look(0, 0, 0), look(end, end, 0)]} for end in (0.3, 0.05)]
    dense = {"curve": [look(0, 0.1, 0)] * 3, "loss": {"prose": 1.1, "images": 1.9}}
    return {
        "languages": ["prose", "images"],
        "chance": 0.125,
        "runs": {"switch": [switch] * 2, "switch, its router frozen": frozen, "dense": [dense] * 2},
    }


def test_drift_is_decided_seed_by_seed(drift):
    assert [row[-1].split(" (")[0] for row in figures.drift_claims(drift).rows] == [
        "confirmed", "not confirmed", "not confirmed", "confirmed", "not confirmed",
    ]  # fmt: skip
    assert figures.drift_words(drift)[1] == "Layer 1, switch, its router frozen: the share grew in 1 of 2 seeds."


def test_what_serves_whom_is_decided_seed_by_seed(drift):
    said = [row[-1].split(" (")[0] for row in figures.serving_claims(drift).rows]
    assert said == ["confirmed", "confirmed", "not confirmed", "not confirmed"]


def test_twins_are_compared_language_by_language(drift):
    text = {"runs": {"switch": [{"loss": {"prose": 1.2}}] * 2, "dense": [{"loss": {"prose": 1.1}}] * 2}}
    prose, images = figures.twins_by_language(drift, text).rows
    assert prose[1:] == [
        "-0.100 (-0.100–-0.100)", "not confirmed (0 of 2 seeds)", "0.100 (0.100–0.100)", "confirmed (2 of 2 seeds)",
    ]  # fmt: skip
    assert images[1:3] == ["–", "–"] and images[4] == "not confirmed (0 of 2 seeds)"


def test_the_weight_of_a_loss_is_judged_for_each_capacity():
    def run(weight: float, factor: float | None, *perplexities: float) -> dict:
        return {"weight": weight, "factor": factor, "rows": [{"perplexity": value} for value in perplexities]}

    results = {
        "settings": {"factors": [None, 1.25]},
        "runs": [
            run(0.0, None, 8.0, 8.0),
            run(0.1, None, 9.0, 9.0),
            run(1.0, None, 9.5, 9.5),
            run(0.0, 1.25, 9.0, 9.0),
            run(0.1, 1.25, 8.0, 8.5),
            run(1.0, 1.25, 8.5, 8.0),
        ],
    }
    assert [row[2].split(" (")[0] for row in figures.balance_sweep_claims(results).rows] == [
        "not confirmed", "confirmed", "confirmed", "not confirmed",
    ]  # fmt: skip
