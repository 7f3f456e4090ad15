"""Take the README's picture of a lab in use, from the real lab: python -m tests.notebooks.take_picture"""

import tempfile
from pathlib import Path

import nbformat

from course_utils import units
from course_utils.notebooks.build import lab_path
from course_utils.units import unit_name
from tests.notebooks.browser import MARK_CELL, course_lab, headless_browser, open_notebook, run_all

TOPIC, EXERCISE = "distillation", "soft_targets"
MISTAKE = "return torch.softmax(logits, dim=-1) / temperature"  # a page for everybody shows no answer
PICTURE = units.ROOT / "lectures" / "images" / "lab.png"


def main() -> None:
    notebook = nbformat.read(lab_path(TOPIC), as_version=4)
    (exercise,) = (cell for cell in notebook.cells if cell.id == EXERCISE)
    exercise.source = exercise.source[: exercise.source.index("raise NotImplementedError")] + MISTAKE
    PICTURE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder, elsewhere = Path(temporary, "course"), Path(temporary, "elsewhere")
        folder.mkdir()
        elsewhere.mkdir()
        name = f"{unit_name(TOPIC)}.ipynb"
        nbformat.write(notebook, folder / name)
        with course_lab(folder, elsewhere) as address, headless_browser() as browser:
            page = browser.new_page(viewport={"width": 1200, "height": 860})
            open_notebook(page, address, name)
            run_all(page, name)
            page.keyboard.press("Control+b")  # the file browser away
            for _ in range(3):  # cells get their true height when they come into view
                page.evaluate(MARK_CELL, f"box_{EXERCISE}")
                page.wait_for_timeout(1000)
            page.screenshot(path=PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
