// What scrolls sideways can be reached by the keyboard
function reachable() {
  for (const each of document.querySelectorAll("pre, .math, .table-wrapper, .output, dt.sig"))
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
}
addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(reachable));
addEventListener("resize", reachable);
