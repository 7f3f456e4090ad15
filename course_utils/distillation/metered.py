"""What the meter reads of unit 01: a teacher, and students of one shape that were taught in different ways."""

from course_utils.budget.ledger import Entry, of_module, percent
from course_utils.models import hinton_student, hinton_teacher
from course_utils.reproduce import stored_results


def entries() -> list[Entry]:
    """The teacher first."""
    results = stored_results("distillation")
    data, settings = results["data"], results["settings"]

    def wrong(name: str) -> list[float]:
        return percent([run[name]["errors"] for run in results["runs"]], data["test"])

    epochs = f"{settings['student_epochs']} epochs"
    seen = {"digits": data["train"]}
    return [
        of_module(
            hinton_teacher(),
            "teacher, 784-1200-1200-10",
            f"labels, moved digits, {settings['teacher_epochs']} epochs",
            wrong("teacher"),
            label="teacher",
            **seen,
        ),
        of_module(hinton_student(), "student, 784-800-800-10", f"labels, {epochs}", wrong("student"), **seen),
        of_module(
            hinton_student(), "student, distilled", f"teacher, {epochs}", wrong("distilled"), label="distilled", **seen
        ),
        of_module(
            hinton_student(), "student, no teacher", f"labels, moved digits, {epochs}", wrong("jittered"), **seen
        ),
    ]
