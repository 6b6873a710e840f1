// Tables sort by a click on a header, and long ones can be filtered. Without this all is there to be read.
"use strict";
const LONG = 8; // rows; a longer table has a field that filters it
const NEXT = { none: "ascending", ascending: "descending", descending: "none" }; // none: as the paper orders them
const PREFIXES = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const element = (tag, properties) => Object.assign(document.createElement(tag), properties);

// The first number in a cell: 97.07 of "97.07%", 2.04 of "2.04 ± 0.11", 1000 of "about 1000", 1.06e9 of "1.06 G".
function numberIn(text) {
  const found = text.replaceAll(",", "").match(/(-?\d+(?:\.\d+)?)(?: ([kMGT]))?/);
  return found && found[1] * (PREFIXES[found[2]] ?? 1);
}

function sorted(rows, column, isNumber, falls) {
  const key = (text) => (isNumber ? numberIn(text) : text === "–" ? "" : text) ?? "";
  const keys = new Map(rows.map((row) => [row, key(row.cells[column].textContent)]));
  return [...rows].sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (a === "" || b === "") return (a === "") - (b === ""); // what is not there stands last either way
    const order = isNumber ? a - b : a.localeCompare(b, "en", { numeric: true });
    return falls ? -order : order;
  });
}

function makeSortable(table) {
  const [body] = table.tBodies, given = [...body.rows], headers = [...table.tHead.rows].at(-1).cells;
  for (const header of headers) {
    const button = element("button", { type: "button", title: "Sort" });
    button.append(...header.childNodes);
    header.append(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = NEXT[header.getAttribute("aria-sort")];
      for (const each of headers) each.setAttribute("aria-sort", each === header ? next : "none");
      const isNumber = header.classList.contains("number");
      body.append(...(next === "none" ? given : sorted(given, header.cellIndex, isNumber, next === "descending")));
    });
  }
}

function makeFilterable(table) {
  const rows = [...table.tBodies[0].rows];
  const texts = new Map(rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase()]));
  const field = element("input", { type: "search" }), count = element("output");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((word) => texts.get(row).includes(word));
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown < rows.length ? `${shown} of ${rows.length} rows` : "";
  });
  const label = element("label"), filter = element("div", { className: "filter" });
  label.append("Rows with ", field);
  filter.append(label, count);
  table.parentElement.before(filter);
}

for (const table of document.querySelectorAll("table")) {
  makeSortable(table);
  if (table.tBodies[0].rows.length > LONG) makeFilterable(table);
}

// A film that plays can be stopped: its frames, side by side, then stand in its place.
function makeStoppable(film) {
  const moving = film.currentSrc || film.src, frames = moving.replace(/\.webp$/, ".png");
  if (moving === frames) return; // who asks for less motion is shown the frames anyway
  const button = element("button", { type: "button", className: "stop", textContent: "Stop the film" });
  button.addEventListener("click", () => {
    const plays = film.src === moving;
    film.src = plays ? frames : moving;
    button.textContent = plays ? "Play the film" : "Stop the film";
  });
  film.closest("figure").querySelector("figcaption").append(" ", button);
}

for (const film of document.querySelectorAll(".film")) {
  if (film.complete) makeStoppable(film);
  else film.addEventListener("load", () => makeStoppable(film), { once: true });
}

// On paper every claim is unfolded; afterwards the page is as it was.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details:not([open])")];
  for (const details of unfolded) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of unfolded) details.open = false;
});
