"""What the meter reads of unit 04: LeNet-5, and what the group lasso leaves of it."""

from course_utils.budget.ledger import Entry, of_module
from course_utils.reproduce import stored_results
from course_utils.structured.figures import FULL, chosen_width, percent
from course_utils.structured.lenet import narrow_lenet


def entries() -> list[Entry]:
    """The dense network first, then the chosen width, then the narrowest network that was trained narrow."""
    results = stored_results("structured")
    digits, settings, runs = results["data"]["train"], results["settings"], results["runs"]
    chosen, control = chosen_width(results), list(runs[0]["scratch"])[-1]
    filters = {name: [int(count) for count in name.split("—")] for name in (FULL, chosen, control)}
    dense_epochs = runs[0]["dense"]["epochs"]
    after = settings["parts"] * settings["images"] / digits
    return [
        of_module(
            narrow_lenet(filters[FULL], 0),
            f"LeNet-5, {FULL} filters",
            f"labels, moved digits, {dense_epochs} epochs",
            percent(results, "dense", FULL, "test"),
            digits=digits,
        ),
        of_module(
            narrow_lenet(filters[chosen], 0),
            f"group lasso, {chosen}",
            f"labels, moved digits, {after:.0f} epoch of lasso, {settings['epochs']} epochs",
            percent(results, "lasso", chosen, "test"),
            label=f"group lasso {chosen}",
            digits=digits,
        ),
        of_module(
            narrow_lenet(filters[control], 0),
            f"narrow from the start, {control}",
            f"labels, moved digits, {runs[0]['scratch'][control]['epochs']} epochs",
            percent(results, "scratch", control, "test"),
            label=f"narrow {control}",
            digits=digits,
        ),
    ]
