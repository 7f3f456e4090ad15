"""Tables and figures of lecture 10 and of its lab."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from course_utils import plots
from course_utils.moe.model import Corpus, Measurement

BOTH, NONE = "noisy top-2: importance and load", "noisy top-2: none"
CONTROL, ROUTER = "control: one expert's weights for all", "part of ours: the router"  # of the race's ReLU experts
SPARSE = ("switch", BOTH, "hash", "expert choice")  # that were trained for longer, too
TOPK = "control: SwiGLU experts, torch.topk"


# --- lecture ----------------------------------------------------------------------------------------------------------


def balance_weights_table(found: Mapping[float, Measurement]) -> plots.Table:
    """What networks are like that were trained with this weight of the balance loss."""
    rows = [
        [f"{weight:g}", f"{each.perplexity:.2f}", f"{each.max_over_mean:.2f}", f"{each.dropped:.1%}"]
        for weight, each in found.items()
    ]
    return plots.Table(["balance weight", "validation perplexity", "max/mean load", "dropped (factor 2)"], rows)


def over_seeds(results: Mapping[str, Any], network: str, key: str) -> list[float]:
    """A number of `course reproduce moe` over the seeds; empty if the network was not trained."""
    return [row[key] for row in results["runs"].get(network, [])]


def networks_table(results: Mapping[str, Any], networks: Mapping[str, str]) -> plots.Table:
    """Sizes and measurements of some networks. networks: what the table calls them, and what the results do."""
    rows = []
    for label, name in networks.items():
        cells, found = 6 * ["—"], results["runs"].get(name, [])
        if found:
            perplexity, load, rank = ([row[key] for row in found] for key in ("perplexity", "max_over_mean", "rank"))
            cells = [
                f"{found[0]['parameters']:,}",
                f"{found[0]['ffn_macs']:,}",
                plots.mean_and_range(perplexity, 3),
                plots.mean_and_range(load, 2),
                f"{100 * np.mean([row['dropped'] for row in found]):.2f}%",
                plots.mean_and_range(rank, 1),
            ]
        rows.append([label, len(found), *cells])
    columns = ["feed-forward layer", "seeds", "parameters", "MACs a token", "test perplexity", "max/mean load"]
    return plots.Table([*columns, "dropped", "effective rank"], rows, seeds=[row[1] for row in rows])


def balance_losses_table(results: Mapping[str, Any]) -> plots.Table:
    """Shazeer's table of balance losses beside ours."""
    rows = []
    for loss in ("none", "importance", "load", "importance and load", "switch"):
        perplexity, load = (over_seeds(results, f"noisy top-2: {loss}", key) for key in ("perplexity", "max_over_mean"))
        ours = [plots.mean_and_range(perplexity, 3), plots.mean_and_range(load, 2)] if load else ["—", "—"]
        theirs = results["paper"].get(loss, {"perplexity": "–", "max_over_mean": "–"})
        rows.append([loss, len(load), theirs["perplexity"], ours[0], theirs["max_over_mean"], ours[1]])
    columns = ["balance loss", "seeds", "perplexity, Shazeer", "perplexity, ours"]
    columns += ["max/mean load, Shazeer", "max/mean load, ours"]
    return plots.Table(columns, rows, seeds=[row[1] for row in rows])


def k_in_place(perplexities: Mapping[str, Sequence[float]]) -> None:
    """Draw test perplexities of a network that was trained with k = 2, by the k that it was evaluated with."""
    figure, axes = plots.new_figure(height=2.4)
    plots.points_over_seeds(axes, perplexities, "test perplexity, trained with k = 2")
    plots.show(
        figure,
        "Test perplexity of a model trained with two experts for each token, evaluated with one, two, four and eight; "
        "a dot for each seed.",
    )


def language_map(results: Mapping[str, Any]) -> None:
    """Draw where each language's symbols go in the second layer of the network for images and text, seed 0."""
    load = np.array(results["runs"]["images and text: switch"][0]["load"][1], dtype=float)
    share = 100 * load / load.sum(1, keepdims=True)
    figure, axes = plots.new_figure(height=2.6)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (y, x), value in np.ndenumerate(share):
        axes.text(x, y, f"{value:.0f}", ha="center", va="center", color="white" if value > 60 else "black")
    axes.set_yticks(range(len(results["languages"])), results["languages"])
    axes.set_xticks(range(share.shape[1]))
    axes.grid(visible=False)
    axes.set(xlabel="expert", title="where each language's symbols go (%)")
    plots.show(
        figure,
        "A table of languages by experts: each cell is the percentage of a language's symbols that the expert gets.",
    )


def learning_curves(results: Mapping[str, Any]) -> None:
    """Draw validation perplexity against training's operations and against its steps, for each network.

    results: what `course reproduce learning_curves` stores. Thin lines are seeds, the thick one is their mean.
    """
    figure, (by_work, by_steps) = plots.new_figure(1, 2, width=10, height=4)
    for number, (name, rows) in enumerate((name, rows) for name, rows in results["runs"].items() if rows):
        steps = np.array([step for step, _ in rows[0]["curve"]])
        curves = np.array([[perplexity for _, perplexity in row["curve"]] for row in rows])
        operations = steps * np.mean([row["flops_a_step"] for row in rows])
        style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number]}
        for axes, xs in ((by_work, operations), (by_steps, steps)):
            for curve in curves:
                axes.plot(xs, curve, linewidth=0.5, alpha=0.5, marker="", **style)
            axes.plot(
                xs, curves.mean(0), linewidth=1.6, marker=plots.MARKERS[number], markersize=4, label=name, **style
            )
    by_work.set(xscale="log", xlabel="operations of training's products", ylabel="validation perplexity")
    by_steps.set(xlabel="steps")
    for axes in (by_work, by_steps):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    by_work.set_xticks([2e11, 5e11, 1e12, 2e12, 5e12, 1e13], ["2·10¹¹", "5·10¹¹", "10¹²", "2·10¹²", "5·10¹²", "10¹³"])
    by_work.tick_params(axis="x", which="minor", labelbottom=False)
    by_steps.legend(fontsize=8)
    plots.show(
        figure,
        "Validation perplexity, logarithmic, falling while six networks train: on the left against the operations that "
        "training took, also logarithmic, on the right against steps. Dense and sparse networks of equal work lie one "
        "above the other on the left; the dense network of eight times the width lies far to the right of them.",
    )


def pairs(results: Mapping[str, Any], first: str, second: str, key: str = "perplexity") -> list[tuple[Any, Any]]:
    """Both networks' numbers for each seed that both have."""
    a, b = ({row["seed"]: row[key] for row in results["runs"].get(name, [])} for name in (first, second))
    return [(a[seed], b[seed]) for seed in a if seed in b]


def to_dense(curves: Mapping[str, Any], name: str, key: str = "perplexity") -> list[float]:
    """A network's perplexity, on the test texts or by another key, by that of the dense one of the same seed."""
    return [perplexity / dense for perplexity, dense in pairs(curves, name, "dense", key)]


def curves_table(curves: Mapping[str, Any]) -> plots.Table:
    """Perplexities at the end of the long training, and by the dense network's: on test texts, and on those of the
    training."""
    rows = []
    for name, found in curves["runs"].items():
        cells = 5 * ["—"]
        if found:
            cells = [
                f"{found[0]['parameters']:,}",
                f"{np.mean([row['flops_a_step'] for row in found]) / 1e9:.2f}",
                plots.mean_and_range([row["perplexity"] for row in found], 3),
                plots.mean_and_range(to_dense(curves, name), 3),
                plots.mean_and_range(to_dense(curves, name, "training_perplexity"), 3),
            ]
        rows.append([name, len(found), *cells])
    columns = ["network", "seeds", "parameters", "billion operations a step", "test perplexity", "by dense, same seed"]
    return plots.Table([*columns, "by dense, training's texts"], rows, seeds=[row[1] for row in rows])


def curves_words(curves: Mapping[str, Any]) -> str:
    """Which networks end below another one, in every seed."""
    lines = []
    for rival in ("dense", "dense, wide", "switch"):
        below = [
            name
            for name in curves["runs"]
            if name != rival and (found := pairs(curves, name, rival)) and all(a < b for a, b in found)
        ]
        lines.append(f"Below {rival} in every seed: {'; '.join(below) or 'none'}.")
    return "\n".join(lines)


def goal_words(*trainings: Mapping[str, Any]) -> str:
    """Whether switch reached the goal, which the last of the trainings has, in every seed, after each of them."""
    goal = trainings[-1]["goal"]
    lines = [f"Switch by dense; goal: at most {goal} in every seed."]
    for training in trainings:
        found = to_dense(training, "switch")
        reached = sum(ratio <= goal for ratio in found)
        shown = ", ".join(f"{ratio:.3f}" for ratio in found)
        verdict = "reached" if reached == len(found) else f"reached in {reached} of {len(found)} seeds, so not reached"
        lines.append(f"After {training['settings']['steps']:,} steps {shown}: {verdict}.")
    return "\n".join(lines)


def language_words(curves: Mapping[str, Any]) -> str:
    """Switch's test perplexity by dense's of the same seed, in each language by itself."""
    losses = pairs(curves, "switch", "dense", "loss")
    lines = [f"Switch by dense after {curves['settings']['steps']:,} steps, language by language:"]
    for language in losses[0][0]:
        ratios = ", ".join(f"{np.exp(switch[language] - dense[language]):.3f}" for switch, dense in losses)
        lines.append(f"  {language:6} {ratios}")
    return "\n".join(lines)


def repeated_words(corpus: Corpus, length: int = 64) -> str:
    """How much of each language's test text lies in pieces of `length` characters that its training text has, too."""
    lines = [f"Test text in pieces of {length} characters or more that stand in the training text:"]
    for language, ids in corpus.train.items():
        seen, test = bytes(ids.tolist()), bytes(corpus.test[language].tolist())
        pieces = {seen[start : start + length] for start in range(len(seen) - length + 1)}
        repeated = np.zeros(len(test), bool)
        for start in range(len(test) - length + 1):
            if test[start : start + length] in pieces:
                repeated[start : start + length] = True
        lines.append(f"  {language:6} {repeated.mean():.1%}")
    return "\n".join(lines)


def sums_words(curves: Mapping[str, Any]) -> str:
    """Test perplexity of sums, and what it would be if they were added up without a fault."""
    perfect = np.exp(2 * np.log(1000) / 13)  # a line of 13 characters has two numbers below 1,000, drawn at random
    lines = [f"Perplexity of sums: {perfect:.1f} if all but the summands were known;"]
    for name, rows in curves["runs"].items():
        lines.append(f"  {name:35} {plots.mean_and_range([float(np.exp(row['loss']['sums'])) for row in rows], 2)}")
    return "\n".join(lines)


def lead_words(*trainings: Mapping[str, Any]) -> str:
    """Which networks' perplexity, by dense's, falls or rises in every seed from training to longer training."""
    lines = []
    for short, long in pairwise(trainings):
        falls, rises = [], []
        for name in long["runs"]:
            change = [b - a for a, b in zip(to_dense(short, name), to_dense(long, name), strict=True)]
            if name != "dense" and change:
                falls += [name] if max(change) < 0 else []
                rises += [name] if min(change) > 0 else []
        steps = [f"{training['settings']['steps']:,}" for training in (short, long)]
        lines.append(f"From {steps[0]} to {steps[1]} steps, by dense, in every seed:")
        lines += [f"  lower: {'; '.join(falls) or 'none'}", f"  higher: {'; '.join(rises) or 'none'}"]
    return "\n".join(lines)


def by_length(*trainings: Mapping[str, Any]) -> None:
    """Draw the networks' test perplexity by that of the dense one against the training's length.

    trainings: stored results, the last one those of `course reproduce learning_curves`; each is another training, under
    a learning rate that falls to its end. Thin lines are seeds, the thick one is their mean.
    """
    figure, axes = plots.new_figure(width=7, height=3.8)
    steps = [training["settings"]["steps"] for training in trainings]
    for number, name in enumerate(trainings[-1]["runs"]):
        if name == "dense":
            continue
        ratios = np.array([to_dense(training, name) for training in trainings])
        style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number]}
        axes.plot(steps, ratios, linewidth=0.5, alpha=0.5, marker="", **style)
        axes.plot(steps, ratios.mean(1), linewidth=1.6, marker=plots.MARKERS[number], markersize=5, label=name, **style)
    axes.axhline(1, color="black", linewidth=1, label="dense")
    axes.axhline(trainings[-1]["goal"], color="black", linewidth=1, linestyle=":", label="goal for switch")
    axes.set(xscale="log", xlabel="steps of the training", ylabel="test perplexity by dense's")
    axes.set_xticks(steps, [f"{each:,}" for each in steps])
    axes.minorticks_off()
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    plots.show(
        figure,
        "Test perplexity divided by that of the dense network of the same seed, against the number of steps of three "
        "trainings, logarithmic, with a line for each of five networks and for each seed, and level lines for dense "
        "and for the goal. All fall from 600 to 2,400 steps, below dense; to 4,800 most rise a little again.",
    )


def _microseconds(part: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Lower quartile, median and upper quartile for a token, [3, numbers of experts], by implementation."""
    per_token = [row["milliseconds_per_token"] for row in part["rows"]]
    return {name: 1000 * np.array([times[name] for times in per_token]).T for name in per_token[0]}


def race_panels(race: Mapping[str, Any]) -> None:
    """Draw the stored race: microseconds for a token against the number of experts, a panel for each batch."""
    figure, both = plots.new_figure(1, 2, width=11, height=4.6)
    for axes, part in zip(both, race["races"], strict=True):
        counts = [row["experts"] for row in part["rows"]]
        for name, (low, middle, high) in _microseconds(part).items():
            if name == ROUTER:
                continue
            # The eighth line: the cycle of styles has seven
            style = {"color": "0.6", "linestyle": "-", "marker": ""} if name.startswith("dense") else {}
            axes.errorbar(counts, middle, yerr=[middle - low, high - middle], label=name, capsize=3, **style)
        axes.set(xscale="log", yscale="log", xlabel="experts", ylabel="processor time for a token (µs)")
        title = f"k = {race['k']}, {part['tokens']:,} tokens, width {race['width']}, one thread"
        axes.set_title(title, fontsize=10)
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.set_yticks([3, 5, 7, 10, 15], ["3", "5", "7", "10", "15"])
        axes.minorticks_off()
    figure.legend(*both[0].get_legend_handles_labels(), fontsize=8, ncols=3, loc="outside lower center")
    plots.show(
        figure,
        "Microseconds for a token against 4 to 64 experts, both logarithmic, for a small and a large batch, with a "
        "line for each implementation: ours with two kinds of experts, two controls, Hugging Face's Mixtral block "
        "in two implementations, st-moe-pytorch, and a dense layer. The dense layer's line is level. In the "
        "small batch the others rise, most beyond 16 experts. In the large batch Mixtral's rise, less; ours, the "
        "controls' and st-moe-pytorch's fall a little and rise again, to about where they began.",
    )


def race_report(race: Mapping[str, Any]) -> str:
    """The medians of the stored race in words, how often our layer was not slower than others, for how many tokens
    st-moe-pytorch gives the same, and what many experts add to our layer's time."""
    blocks = ("eager", "grouped_mm")
    contests = {"ours, SwiGLU experts": blocks, TOPK: blocks, "ours, ReLU experts": ("st-moe",)}
    lines = []
    for part in race["races"]:
        times = _microseconds(part)
        medians = {name: middle for name, (_, middle, _) in times.items()}
        lines.append(f"{part['tokens']:,} tokens{'slowest / fastest (of quartiles)':>{80 - 12}}")
        for name, middle in medians.items():
            low, spread, high = (each.max() / each.min() for each in times[name])
            lines.append(f"  {name:42} {middle.round(1).tolist()!s:30} {spread:.2f} ({low:.2f}, {high:.2f})")
        for ours, rivals in contests.items():
            for rival in rivals:
                theirs = next(middle for name, middle in medians.items() if rival in name)
                won = int((medians[ours] <= theirs).sum())
                lines.append(f"  {ours} not slower than {rival}: {won} of {len(theirs)} numbers of experts")
        faster = np.minimum(medians["ours, SwiGLU experts"], medians[TOPK])
        spread = faster.max() / faster.min()
        lines.append(f"  SwiGLU experts with the faster router at each: slowest / fastest {spread:.2f}")
        equal = [round(row["equal_to_st_moe"], 2) for row in part["rows"]]
        lines.append(f"  tokens whose ReLU output equals st-moe-pytorch's, a share of all: {equal}")
        first, last = (part["rows"][i]["experts"] for i in (0, -1))
        total, unread, routed = (medians[n][-1] - medians[n][0] for n in ("ours, ReLU experts", CONTROL, ROUTER))
        lines.append(f"  ours, ReLU experts, {last} against {first}: {total:.2f} more;")
        lines.append(f"    to read weights {total - unread:.2f}, the router {routed:.2f}, others {unread - routed:.2f}")
    return "\n".join(lines)


def claims_table(race: Mapping[str, Any], *trainings: Mapping[str, Any]) -> plots.Table:
    """The papers' claims, each with the number of our seeds in which it holds.

    trainings: stored results, the first those of `course reproduce moe`, the others longer.
    """
    results = trainings[0]
    steps = [f"{training['settings']['steps']:,} steps" for training in trainings]
    flat = "; ".join(
        f"{name}, {middle.max() / middle.min():.2f} with {part['tokens']:,} tokens: "
        f"{'confirmed' if middle.max() <= 1.3 * middle.min() else 'not confirmed'}"
        for part in race["races"]
        for name, (_, middle, _) in _microseconds(part).items()
        if name.startswith("ours") or name == TOPK
    )
    claims = {
        "Without balance losses perplexity is worse (Shazeer: by 4.2)": verdict(
            [a > b for a, b in pairs(results, NONE, BOTH)]
        ),
        "Without balance losses max/mean load is at least twice that with both (17.8 and 1.14)": verdict(
            [a >= 2 * b for a, b in pairs(results, NONE, BOTH, "max_over_mean")]
        ),
        **{
            f"Sparse (switch) beats dense at equal work (Fedus), {after}": verdict(
                [a < b for a, b in pairs(training, "switch", "dense")]
            )
            for after, training in zip(steps, trainings, strict=True)
        },
        **{
            f"Dense with as many parameters, eight times as wide, beats every sparse layer, {after}": verdict(
                _below_all(training, "dense, wide", SPARSE)
            )
            for after, training in zip(steps, trainings, strict=True)
        },
        "Expert choice balances the load without a loss (Zhou)": "true by construction, so nothing to confirm",
        **{
            f"Hash routing is as good as a learned switch (Roller), {after}": verdict(
                [a <= b for a, b in pairs(training, "hash", "switch")]
            )
            for after, training in zip(steps, trainings, strict=True)
        },
        "The switch network's states have a lower effective rank than the dense one's (no paper's claim)": verdict(
            [a < b for a, b in pairs(results, "switch", "dense", "rank")]
        ),
        "Time for a token is flat in the number of experts, within 1.3 (4 to 64)": flat,
        "Seven times faster pre-training than T5 (Fedus)": "not testable here: it needs accelerators and a corpus",
        "Expert choice converges twice as fast (Zhou)": "not testable here: in a causal model it leaks",
    }
    return plots.Table(["claim", "here"], list(claims.items()))


def _below_all(results: Mapping[str, Any], name: str, others: Sequence[str]) -> list[bool]:
    """Whether a network's perplexity is lower than that of each of the others, by seed."""
    found = [[a < b for a, b in pairs(results, name, other)] for other in others if results["runs"].get(other)]
    return [all(each) for each in zip(*found, strict=True)]


def verdict(holds: Sequence[bool]) -> str:
    """Whether a claim holds in every seed, and in how many."""
    if not holds:
        return "not measured yet"
    return f"{'confirmed' if all(holds) else 'not confirmed'} ({sum(holds)} of {len(holds)} seeds)"


def _weighed(results: Mapping[str, Any], factor: float | None, key: str) -> dict[float, list[float]]:
    """A number of `course reproduce balance` over the seeds, by the weight of the losses."""
    return {run["weight"]: [row[key] for row in run["rows"]] for run in results["runs"] if run["factor"] == factor}


def _capacities(results: Mapping[str, Any]) -> dict[float | None, str]:
    return {
        factor: f"capacity factor {factor:g}" if factor else "no capacity" for factor in results["settings"]["factors"]
    }


def balance_sweep(results: Mapping[str, Any]) -> None:
    """Draw test perplexity and the busiest expert's load against the weight of the losses, for each capacity."""
    figure, axes = plots.new_figure(1, 2, width=9, height=3.4)
    panels = {"perplexity": "test perplexity", "max_over_mean_in_training": "max / mean load, in training with noise"}
    for axis, (key, words) in zip(axes, panels.items(), strict=True):
        for number, (factor, name) in enumerate(_capacities(results).items()):
            found = _weighed(results, factor, key)
            style = {"color": plots.COLOURS[number + 1], "marker": plots.MARKERS[number]}
            axis.plot(
                range(len(found)),
                [np.mean(v) for v in found.values()],
                linestyle=plots.LINES[number],
                label=name,
                **style,
            )
            for place, values in enumerate(found.values()):
                axis.plot([place] * len(values), values, linestyle="", markersize=4, alpha=0.5, **style)
        axis.set_xticks(range(len(found)), [f"{weight:g}" for weight in found])
        axis.set(xlabel="weight of both losses", ylabel=words)
    axes[0].legend()
    plots.show(
        figure,
        "Two panels against the weight of the balance losses, with a line for layers without capacity and one for "
        "layers with it, and a dot for each seed: test perplexity, and the busiest expert's load by the mean load.",
    )


def balance_sweep_table(results: Mapping[str, Any]) -> plots.Table:
    """Shazeer's quantities as he measured them, and what is dropped in evaluation."""
    rows, seeds = [], []
    for run in results["runs"]:
        theirs = results["paper"].get(f"{run['weight']:g}", {}) if run["factor"] is None else {}
        keys = ("perplexity", "cv_importance", "cv_load", "max_over_mean_in_training")
        cells = [plots.mean_and_range([row[key] for row in run["rows"]], 2) for key in keys]
        dropped = plots.mean_and_range([100 * row["dropped"] for row in run["rows"]], 1) + "%"
        shown = [str(theirs.get(key, "–")) for key in ("perplexity", "max_over_mean")]
        rows.append([f"{run['weight']:g}", _capacities(results)[run["factor"]], *cells, dropped, *shown])
        seeds.append(len(run["rows"]))
    columns = ["weight", "capacity", "test perplexity", "CV(importance)", "CV(load)", "max/mean load", "dropped"]
    return plots.Table([*columns, "perplexity, Shazeer", "max/mean, Shazeer"], rows, seeds=seeds)


def balance_sweep_claims(results: Mapping[str, Any]) -> plots.Table:
    """Whether losses help, and whether a large weight hurts, with and without capacity, seed by seed."""
    rows = []
    for factor, name in _capacities(results).items():
        perplexity = _weighed(results, factor, "perplexity")
        none, *_, small, large = perplexity
        claims = {
            f"{name}: without losses worse than with {small:g}": (none, small),
            f"{name}: {large:g} worse than {small:g}": (large, small),
        }
        for claim, (worse, better) in claims.items():
            more = [a - b for a, b in zip(perplexity[worse], perplexity[better], strict=True)]
            rows.append([claim, plots.mean_and_range(more, 3), verdict([value > 0 for value in more])])
    return plots.Table(["claim", "test perplexity more", "here"], rows)


# --- lecture: the leak, the drift, and whom experts serve -------------------------------------------------------------


def _futures(results: Mapping[str, Any]) -> dict[str, list[float]]:
    """Perplexities of `course reproduce leak` behind some places of a text, by how a network chose."""

    def found(trained: str, rule: str, future: str) -> list[float]:
        return [row["rules"][rule][future] for row in results["runs"][trained]]

    choice, running = results["runs"]
    return {
        "expert choice, its own future": found(choice, choice, "own future"),
        "expert choice, another text's future": found(choice, choice, "another future"),
        "trained by expert choice, tested by running choice": found(choice, running, "own future"),
        "trained by expert choice, tested by best expert": found(choice, "each token's best expert", "own future"),
        "trained and tested by running choice": found(running, running, "own future"),
    }


def futures(results: Mapping[str, Any]) -> None:
    """Draw what expert choice reaches with its own future, with another, and with rules that do not look ahead."""
    figure, axes = plots.new_figure(width=8, height=2.8)
    plots.points_over_seeds(axes, _futures(results), "test perplexity of the next character")
    plots.show(
        figure,
        "Five rows with a dot for each seed: test perplexity of networks with expert choice, with the text's own "
        "future in sight, with another text's, and with two rules that do not look ahead; and of networks that were "
        "trained by such a rule.",
    )


def leak_claims(results: Mapping[str, Any]) -> plots.Table:
    """What the future and the change of rule are worth, each with everything else held, seed by seed."""
    own, other, changed, best, trained = _futures(results).values()
    differences = {
        "The leak: another future in place of its own, same network, same rule": (other, own),
        "The mismatch: running choice, in a network trained by expert choice, not by it": (changed, trained),
        "Both at once, as above: each token's best expert in place of expert choice": (best, own),
        "Expert choice with nothing to see ahead against running choice": (other, trained),
    }
    rows = []
    for change, (with_it, without) in differences.items():
        more = [a - b for a, b in zip(with_it, without, strict=True)]
        rows.append([change, plots.mean_and_range(more, 3), verdict([value > 0 for value in more])])
    return plots.Table(["what is changed", "perplexity rises by", "worse in every seed"], rows)


def _shares(results: Mapping[str, Any], network: str, key: str) -> np.ndarray:
    """Shares of the variance, [seeds, looks, layers], of `course reproduce drift`."""
    return np.array([[look[key] for look in row["curve"]] for row in results["runs"][network]])


def drift_panels(results: Mapping[str, Any]) -> None:
    """Draw the share of the states' variance in the router's span while networks train, a panel for each layer."""
    lines = {
        "switch": ("switch", "router"),
        "switch, its router frozen": ("switch, its router frozen", "router"),
        "dense, in directions that were drawn": ("dense", "first router"),
        "switch, the most that so many directions hold": ("switch", "best"),
    }
    steps = [look["step"] for look in results["runs"]["switch"][0]["curve"]]
    layers = len(results["runs"]["switch"][0]["curve"][0]["router"])
    figure, axes = plots.new_figure(1, layers, width=10, height=4)
    for layer, axis in enumerate(axes):
        for number, (label, (network, key)) in enumerate(lines.items()):
            found = 100 * _shares(results, network, key)[:, :, layer]
            style = {"color": plots.COLOURS[number], "linestyle": plots.LINES[number]}
            axis.plot(steps, found.T, linewidth=0.5, alpha=0.5, marker="", **style)
            axis.plot(steps, found.mean(0), marker=plots.MARKERS[number], markersize=4, label=label, **style)
        chance = {"color": "#777777", "linestyle": ":", "marker": "", "linewidth": 1}
        axis.axhline(100 * results["chance"], label="experts / width", **chance)
        axis.set(xlabel="step", ylabel="of the states' variance (%)", title=f"layer {layer + 1}")
        axis.set_ylim(0, 100)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=9, ncols=3, loc="outside lower center")
    plots.show(
        figure,
        "For each layer the share of the variance of the states that are fed to a router that lies in the span of the "
        "router's columns, against training's steps: with a router that learns, with one that is frozen, for a dense "
        "network in directions that were drawn, and the most that so many directions can hold; a dotted line marks "
        "what drawn directions hold of states without a preferred direction. " + " ".join(drift_words(results)),
    )


def drift_words(results: Mapping[str, Any]) -> list[str]:
    """For each layer and network whether the share grew from the first look to the last, in every seed."""
    words = []
    for layer in range(len(results["runs"]["switch"][0]["curve"][0]["router"])):
        for network in ("switch", "switch, its router frozen"):
            found = _shares(results, network, "router")[:, :, layer]
            grew = int((found[:, -1] > found[:, 0]).sum())
            words.append(f"Layer {layer + 1}, {network}: the share grew in {grew} of {len(found)} seeds.")
    return words


def drift_claims(results: Mapping[str, Any]) -> plots.Table:
    """Chi's argument, claim by claim, for each layer, at first and at last: percent of the variance,
    and Chi's trace."""
    switch, frozen = (_shares(results, name, "router") for name in ("switch", "switch, its router frozen"))
    dense, stayed = _shares(results, "dense", "first router"), _shares(results, "switch", "first router")
    clusters = _shares(results, "switch", "clustering")

    def percent(values: np.ndarray) -> str:
        return plots.mean_and_range((100 * values).tolist(), 1) + "%"

    def count(values: np.ndarray) -> str:
        return plots.mean_and_range(values.tolist(), 1)

    rows = []
    for layer in range(switch.shape[2]):
        a, b, c, d, e = (found[:, :, layer] for found in (switch, frozen, dense, stayed, clusters))
        claims = [
            ("states come to lie in the router's span", percent, a[:, 0], a[:, -1], a[:, -1] > a[:, 0]),
            ("… in that of a router that does not move", percent, b[:, 0], b[:, -1], b[:, -1] > b[:, 0]),
            ("… more than a dense network's in drawn directions", percent, c[:, -1], b[:, -1], b[:, -1] > c[:, -1]),
            ("more in the router's span than in its first one's", percent, d[:, -1], a[:, -1], a[:, -1] > d[:, -1]),
            ("states of an expert draw together: Tr(Σ_W Σ_B⁺) falls", count, e[:, 0], e[:, -1], e[:, -1] < e[:, 0]),
        ]
        for claim, written, before, after, holds in claims:
            rows.append([layer + 1, claim, written(before), written(after), verdict(holds.tolist())])
    return plots.Table(["layer", "claim", "at first, or the control", "at last", "here"], rows)


STAGES = {"untrained network": "untrained", "untrained router": "trained, untrained router", "trained": "trained"}
CAUSES = ("language", "symbol", "symbol and language")


def _explained(results: Mapping[str, Any], stage: str, cause: str, layer: int) -> list[float]:
    """Percent of the experts' entropy that a cause explains, a number for each seed."""
    return [100 * row["experts"][stage][layer][cause] for row in results["runs"]["switch"]]


def what_explains_experts(results: Mapping[str, Any], layer: int = 1) -> None:
    """Draw how much of the choice of an expert is known once a token's language or symbol is, with both controls."""
    figure, axes = plots.new_figure(width=8, height=3.6)
    values = {
        f"{cause}, {label}": _explained(results, stage, cause, layer)
        for cause in CAUSES
        for stage, label in STAGES.items()
    }
    plots.points_over_seeds(axes, values, "of the choice of an expert explained (% of its entropy)")
    axes.set_xlim(0, 100)
    plots.show(
        figure,
        "Nine rows with a dot for each seed: the percentage of the entropy of the expert's choice that is explained by "
        "a token's language, by its symbol, and by both, each in an untrained network, in the trained network with its "
        "first router, and in the trained network.",
    )


def serving_claims(results: Mapping[str, Any]) -> plots.Table:
    """Whether experts are chosen by language, or by symbol, and what of it is learned: for each layer."""
    rows = []
    for layer in range(len(results["runs"]["switch"][0]["experts"]["trained"])):
        language, symbol = (_explained(results, "trained", cause, layer) for cause in CAUSES[:2])
        before = _explained(results, "untrained network", "language", layer)
        first = _explained(results, "untrained router", "language", layer)
        added, added_before = (
            [a - b for a, b in zip(*(_explained(results, stage, cause, layer) for cause in CAUSES[:0:-1]), strict=True)]
            for stage in ("trained", "untrained network")
        )
        rows += [
            [layer + 1, "the symbol explains more than the language", symbol, language],
            [layer + 1, "training made the language explain more", language, before],
            [layer + 1, "… and it is the router that did: more than by its first columns", language, first],
            [layer + 1, "once the symbol is known, the language adds more than before training", added, added_before],
        ]
    table = []
    for layer, claim, more, less in rows:
        holds = [a > b for a, b in zip(more, less, strict=True)]
        table.append([layer, claim, plots.mean_and_range(more, 1), plots.mean_and_range(less, 1), verdict(holds)])
    return plots.Table(["layer", "claim", "this (%)", "more than this (%)", "here"], table)


def twins_by_language(results: Mapping[str, Any], text: Mapping[str, Any]) -> plots.Table:
    """Test loss of each language, switch beside its dense twin, with images to read as well and without.

    results: what `course reproduce drift` stores; text: what `course reproduce moe` does, of networks without images.
    """
    rows = []
    for language in results["languages"]:
        cells = []
        for found in (text, results):
            losses = [[row["loss"].get(language) for row in found["runs"][name]] for name in ("switch", "dense")]
            if None in losses[0]:
                cells += ["–", "–"]
                continue
            gains = [dense - sparse for sparse, dense in zip(*losses, strict=True)]
            cells += [plots.mean_and_range(gains, 3), verdict([gain > 0 for gain in gains])]
        rows.append([language, *cells])
    columns = [
        "language",
        "dense − switch, texts alone (nats)",
        "switch ahead",
        "with images to read",
        "switch ahead then",
    ]
    return plots.Table(columns, rows)


# --- lab --------------------------------------------------------------------------------------------------------------


def balance_curves(worst: Mapping[str, Sequence[float]]) -> None:
    """Draw the busiest expert's load by the mean load, step by step, for each balance loss."""
    figure, axes = plots.new_figure()
    for name, values in worst.items():
        axes.plot(values, markevery=10, label=f"{name} loss")
    axes.set(xlabel="step", ylabel="busiest expert's load / mean load", title="Three balance losses, the same start")
    axes.set_ylim(bottom=0)
    axes.legend()
    plots.show(
        figure,
        "The load of the busiest expert by the mean load over 80 steps, for the importance, load and switch losses: "
        "all begin at the same height, not far below 4, where two experts of eight have everything, and fall "
        "towards 1.",
    )


def dropped_tokens(factors: Sequence[float], percent: Mapping[float, Sequence[float]]) -> None:
    """Draw the percentage of dropped tokens against the capacity factor, by the router's preference."""
    figure, axes = plots.new_figure()
    for skew, values in percent.items():
        axes.plot(factors, values, label=f"preference {skew}")
    axes.set(xlabel="capacity factor", ylabel="dropped tokens (%)", title="512 tokens, 8 experts")
    axes.legend()
    plots.show(
        figure,
        "Percentage of dropped tokens against the capacity factor, for three routers: the balanced one drops none from "
        "about 1.25 on, the ones with a preference need a factor of 2 or more.",
    )


def baselines(chances: Mapping[str, Tensor]) -> None:
    """Draw the probability of the best expert, [seeds, steps] for each baseline: its median and its quartiles."""
    figure, axes = plots.new_figure()
    for name, table in chances.items():
        (line,) = axes.plot(table.median(0).values, markevery=15, label=name)
        lower, upper = table.quantile(0.25, 0), table.quantile(0.75, 0)
        axes.fill_between(range(table.shape[1]), lower, upper, alpha=0.2, color=line.get_color())
    axes.set(xlabel="step", ylabel="probability of the best expert")
    axes.set_title("REINFORCE, median and quartiles of 20 seeds")
    axes.legend()
    plots.show(
        figure,
        "The probability of the best expert over 150 steps, median and quartiles of 20 seeds: with the mean reward as "
        "the baseline it rises to nearly 1; without a baseline the quartiles lie far apart, as some runs end with "
        "another expert.",
    )


def collapse(pulls: Tensor, ranks: Sequence[float]) -> None:
    """Draw the effective rank of tokens against how far they are pulled towards their expert's vector."""
    figure, axes = plots.new_figure(height=3)
    axes.plot(pulls, ranks)
    axes.set(xlabel="pulled towards the expert's vector", ylabel="effective rank")
    axes.set_title("400 tokens of width 32, 4 experts")
    axes.set_ylim(bottom=0)
    plots.show(
        figure,
        "Effective rank against the pull from 0 to 1: it begins near 32, the width, falls slowly at first, steeply "
        "between about 0.5 and 0.8, and ends at 4, the number of experts.",
    )


def two_tasks(wrong: Mapping[str, Sequence[float]], where: Tensor) -> None:
    """Draw percentages of wrong images by network and seed; and which experts serve which task, [2, experts]."""
    figure, (left, right) = plots.new_figure(1, 2, width=9, height=3)
    plots.points_over_seeds(left, wrong, "wrong validation images (%)")
    left.set_xlim(left=0)
    left.set_title("errors, three seeds each")
    for task, (name, hatch) in enumerate((("digits", ""), ("negatives", "//"))):
        places = [expert + 0.4 * task for expert in range(where.shape[1])]
        right.bar(places, where[task], 0.4, label=name, hatch=hatch, color=plots.COLOURS[task + 1])
    right.set(xlabel="expert", ylabel="validation images", title="which experts serve which task (seed 0)")
    right.legend()
    plots.show(
        figure,
        "Left: percentage of wrong validation images of the dense network and of the one with eight experts, three "
        f"seeds each. Right: for each expert, how many digits and how many negatives it gets: {divided(where)}.",
    )


def divided(where: Tensor) -> str:
    """In words how experts share two tasks. where: how many images of each task an expert gets, [2, experts]."""
    used = where.sum(0) >= 0.01 * where.sum() / where.shape[1]  # a hundredth of an even share is as good as nothing
    alone = used & (where.max(0).values >= 0.9 * where.sum(0))
    return (
        f"of {where.shape[1]} experts {int(alone.sum())} serve one task almost alone, "
        f"{int((used & ~alone).sum())} both, and nothing or next to nothing goes to {int((~used).sum())}"
    )
