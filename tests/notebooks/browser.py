"""`course lab` and a headless Chromium to look at it with: for the tests in JupyterLab and the README's picture."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_utils import units
from course_utils.slides import browser_program

BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
TOKEN = "a-token-for-this-test"
START_SECONDS, RUN_SECONDS, REDRAW_SECONDS = 120, 300, 30

# Of the notebook in front: whether its kernel rests, the cells that were not run, and whether one has raised
PROGRESS = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  const cells = panel.content.widgets.filter(cell => cell.model.type === 'code');
  const types = outputs => Array.from({length: outputs.length}, (_, place) => outputs.get(place).type);
  return {
    idle: panel.sessionContext.session?.kernel?.status === 'idle',
    waiting: cells.filter(cell => !cell.model.executionCount && cell.model.sharedModel.getSource().trim())
      .map(cell => cell.model.id),
    raised: cells.some(cell => types(cell.model.outputs).includes('error')),
  };
}"""
# Of each of its code cells id, tags, outputs
CELLS = """() => {
  const cells = window.jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type === 'code');
  return cells.map(cell => ({
    id: cell.model.id,
    tags: cell.model.getMetadata('tags') || [],
    outputs: cell.model.outputs.toJSON(),
  }));
}"""
OPEN_BESIDE = """async (path) => {
  const {shell, commands} = window.jupyterapp;
  const {id} = shell.currentWidget.sessionContext.session.kernel;
  const panel = await commands.execute('docmanager:open', {path, factory: 'Notebook', kernel: {id}});
  await panel.revealed;
  await panel.sessionContext.ready;
}"""
MARK_CELL = """async (id) => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  const place = notebook.widgets.findIndex(cell => cell.model.id === id);
  await notebook.scrollToItem(place, 'start');
  notebook.widgets[place].node.scrollIntoView({block: 'start'});
  document.querySelectorAll('[data-test-cell]').forEach(node => node.removeAttribute('data-test-cell'));
  notebook.widgets[place].node.setAttribute('data-test-cell', id);
}"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def headless_browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_program(), args=BROWSER_OPTIONS)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def course_lab(folder: Path, elsewhere: Path) -> Iterator[str]:
    """`course lab --no-browser`, started from `elsewhere`, serving `folder`: its address."""
    port = free_port()
    log = elsewhere / "log.txt"
    # A home of its own, so that no setting of this machine's user is read or written
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(units.ROOT), os.environ.get("PYTHONPATH")])),
        "JUPYTER_CONFIG_DIR": str(elsewhere / "config"),
        "JUPYTER_DATA_DIR": str(elsewhere / "data"),
        "JUPYTER_RUNTIME_DIR": str(elsewhere / "runtime"),
        "IPYTHONDIR": str(elsewhere / "ipython"),
    }
    options = [f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}"]
    options += ["--ip=127.0.0.1", f"--IdentityProvider.token={TOKEN}", "--expose-app-in-browser"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "course_utils", "lab", "--no-browser", *options],
            cwd=elsewhere,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for_server(address, process, log)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_server(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"`course lab` ended at once:\n{log.read_text()}"
        try:
            urllib.request.urlopen(f"{address}/api", timeout=5).read()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"`course lab` does not answer:\n{log.read_text()}")


def wait_for_kernel(page) -> None:
    page.wait_for_function(
        "() => window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=START_SECONDS * 1000,
    )


def open_notebook(page, address: str, path: str) -> None:
    """Open a notebook in a fresh JupyterLab, with a kernel of its own."""
    page.goto(f"{address}/lab/tree/{path}?token={TOKEN}&reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=START_SECONDS * 1000)
    wait_for_kernel(page)


def open_beside(page, path: str) -> None:
    """Open another notebook in the same JupyterLab, with the kernel of the one in front."""
    page.evaluate(OPEN_BESIDE, path)
    wait_for_kernel(page)


def run_all(page, path: str) -> list[dict]:
    """Choose Run > Run All Cells in the notebook in front, wait for the end; its code cells as the page knows them."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        page.wait_for_timeout(500)
        state = page.evaluate(PROGRESS)
        if state["idle"] and (state["raised"] or not state["waiting"]):  # an error ends Run All
            return page.evaluate(CELLS)
    pytest.fail(f"{path} did not reach its end in {RUN_SECONDS} s: these cells were not run: {state['waiting']}")


def errors(cells: list[dict]) -> list[str]:
    return [
        f"{cell['id']}: {output['ename']}: {output['evalue']}"
        for cell in cells
        for output in cell["outputs"]
        if output["output_type"] == "error"
    ]


def text_of(cell: dict) -> str:
    """What a cell printed or showed, as plain text."""
    parts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell["outputs"]]
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join("".join(part) for part in parts))  # without terminal colors


def tagged(cells: list[dict], tag: str) -> list[dict]:
    return [cell for cell in cells if tag in cell["tags"]]
