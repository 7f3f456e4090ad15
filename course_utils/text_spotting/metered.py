"""What the meter reads of unit 14's digits: a network of its own for each of three tasks, and PackNet's for all."""

from torch import nn

from course_utils.budget.ledger import Entry, of_module
from course_utils.reproduce import stored_results
from course_utils.text_spotting.tasks import TASKS

LABEL = "PackNet, one network, three tasks"


def entries() -> list[Entry]:
    """The score is that of the digits after the last task. PackNet's file holds all tasks' weights, not their owners
    (two bits each) and not the other tasks' output layers."""
    results = stored_results("text_spotting")
    settings = results["settings"]
    inputs, hidden, last = settings["task_sizes"]
    training = f"{settings['task_images']:,} digits; then {len(TASKS) - 1} times letters"

    def entry(method: str, network: str, **more: str) -> Entry:
        layers = (nn.Linear(inputs, hidden, bias=False), nn.Linear(hidden, last, bias=False), nn.Linear(last, 10))
        model = nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
        wrong = [100 * (1 - run[method]["accuracy"][-1][0]) for run in results["tasks"]]
        return of_module(model, network, training, wrong, digits=settings["task_images"], **more)

    return [
        entry("separate", "a network for each task"),
        entry("fine-tuning", "one network, trained on"),
        entry("PackNet", "PackNet", label=LABEL),
    ]
