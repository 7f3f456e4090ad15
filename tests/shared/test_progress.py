"""A bar in a notebook: one output, in the words of plain text, and nothing in the file in the end."""

import nbformat
from nbclient import NotebookClient

CELL = """
import time
from course_utils.progress import progress_bar
print("before")
with progress_bar(total=40, unit=" images", {more}) as bar:
    for _ in range(40):
        time.sleep(0.02)
        bar.update()
print("after")
"""


def outputs(monkeypatch, more=""):
    """The outputs that one cell leaves in a notebook, and all messages of its kernel."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(more=more))])
    client, said = NotebookClient(notebook, kernel_name="python3"), []
    take = client.process_message
    client.process_message = lambda message, *args: said.append(message) or take(message, *args)
    client.execute()
    return notebook.cells[0].outputs, said


def test_a_bar_in_a_notebook_leaves_an_empty_output(monkeypatch):
    left, said = outputs(monkeypatch)
    assert [each.output_type for each in left] == ["stream", "display_data", "stream"]
    assert left[1].data == {"text/plain": ""} and all(each.get("name") != "stderr" for each in left)
    shown = [m["content"]["data"]["text/plain"] for m in said if m["msg_type"] == "update_display_data"]
    assert 2 <= len(shown) <= 8 and "/40" in shown[0] and "images" in shown[0] and shown[-1] == ""


def test_a_hidden_bar_has_no_output(monkeypatch):
    left, _ = outputs(monkeypatch, "disable=True")
    assert "".join(each.text for each in left) == "before\nafter\n"
