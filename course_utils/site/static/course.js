// What scrolls sideways can be reached by the keyboard
function reachable() {
  for (const each of document.querySelectorAll("pre, .math, .table-wrapper, .output, dt.sig"))
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
}
// Furo's two asides have no names, and its search page no heading
function named() {
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "Pages of the course");
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
  const results = document.getElementById("search-results");
  if (results) results.before(Object.assign(document.createElement("h1"), {textContent: "Search", className: "visually-hidden"}));
}
addEventListener("DOMContentLoaded", named);
addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(reachable));
addEventListener("resize", reachable);
