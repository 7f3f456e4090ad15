"""What the meter reads of unit 07: LeNet-300-100, and its tickets."""

from course_utils.budget.ledger import Entry, of_module, of_sparse, percent, random_sparse
from course_utils.lottery.figures import by_seed
from course_utils.models import lenet_300_100
from course_utils.reproduce import stored_results

ROUNDS = (7, 12, 15)
DRAWN = 12
SHAPES = [(300, 784), (100, 300), (10, 100)]


def entries() -> list[Entry]:
    """The dense network first. Tickets in CSR, with as many weights in each layer as their round leaves."""
    results = stored_results("lottery")
    data, settings = results["data"], results["settings"]
    rates = [settings["rate"], settings["rate"], settings["output_rate"]]

    def wrong(condition: str, number: int) -> list[float]:
        return percent(list(by_seed(results, condition, number, "test_errors").values()), data["test"])

    def training(number: int) -> str:
        before = f"{number} × {settings['iterations']:,} steps, then " if number else ""
        return f"labels, {before}to the least validation loss"

    dense = of_module(lenet_300_100(), "dense, LeNet-300-100", training(0), wrong("dense", 0), digits=data["train"])
    found = [dense]
    for number in ROUNDS:
        kept = [out * inputs for out, inputs in SHAPES]
        for _ in range(number):
            kept = [count - round(rate * count) for count, rate in zip(kept, rates, strict=True)]
        share = f"{100 * sum(kept) / sum(out * inputs for out, inputs in SHAPES):.1f}%"
        found.append(
            of_sparse(
                random_sparse(SHAPES, kept),
                f"ticket of {share}, CSR",
                training(number),
                wrong("ticket", number),
                label=f"ticket of {share}" if number == DRAWN else "",
                digits=data["train"],
            )
        )
    return found
