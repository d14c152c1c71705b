"use strict";
const find = (id) => document.getElementById(id);
const store = JSON.parse(find("store").textContent);
const body = find("every").tBodies[0];
const lines = [...body.rows];

/* Every image: filter and sort. */
function filter() {
  const words = find("words").value.toLowerCase().split(/\s+/);
  const subset = find("subset").value;
  const [low, high] = find("ratio").value.split(":").map(Number);
  let count = 0;
  for (const line of lines) {
    const [of, name, ratio] = [...line.cells].slice(0, 3).map((cell) => cell.textContent);
    const text = `${of}/${name}`.toLowerCase();
    const inRange = high === undefined || (Number(ratio) >= low && Number(ratio) < high);
    line.hidden = !(words.every((word) => text.includes(word)) && (!subset || of === subset) && inRange);
    count += !line.hidden;
  }
  find("count").textContent = count === lines.length ? `${count} images` : `${count} of ${lines.length} images`;
}
for (const event of ["input", "change"]) find("filter").addEventListener(event, filter);
find("filter").addEventListener("submit", (event) => event.preventDefault());

function sort(heading) {
  const column = heading.cellIndex;
  const down = column < 2 ? heading.ariaSort === "ascending" : heading.ariaSort !== "descending";
  for (const other of heading.parentNode.cells) other.ariaSort = "none";
  heading.ariaSort = down ? "descending" : "ascending";
  const key = (line) => line.cells[column].textContent;
  const compare = column < 2 ? (a, b) => a.localeCompare(b, "en", { numeric: true }) : (a, b) => a - b;
  const keyed = lines.map((line) => [key(line), line]);
  const absent = ([text]) => (text === "-" ? 1 : 0); // stay last, whichever way
  keyed.sort((a, b) => absent(a) - absent(b) || (down ? compare(b[0], a[0]) : compare(a[0], b[0])));
  body.append(...keyed.map(([, line]) => line));
}
for (const heading of find("every").tHead.rows[0].cells) {
  heading.querySelector("button").addEventListener("click", () => sort(heading));
}

/* The viewer: any two images of a composite, one over the other. */
const slots = store.slots;
let place = -1;

function show(img, slot) {
  const line = lines[place];
  const [subset, name] = [line.cells[0].textContent, line.cells[1].textContent];
  const path = [subset, slots[slot].names[place] || name].map(encodeURIComponent).join("/");
  const file = `${slots[slot].folder}/${path}${slots[slot].ending}`;
  const above = document.querySelector(`[data-image="${place}-${slot}"]`); // shown there, and not stored twice
  const inside = above ? above.src : store.images[place][slot];
  [img.width, img.height] = store.sizes[place]; // the page keeps its place while it loads
  img.src = inside || file;
  img.alt = `${title(slot)}: ${name}`;
  if (inside && img.id) { // the file is sharper, where the page stands in its folder
    const better = new Image();
    better.onload = () => { if (img.src === inside) img.src = better.src; };
    better.src = file;
  }
}
function title(slot) {
  return slots[slot].error ? `error of ${slots[slot].label}` : slots[slot].label;
}
function open(number) {
  place = number;
  const line = lines[place];
  const values = [...line.cells].slice(2).map((cell, i) => `${find("every").tHead.rows[0].cells[i + 2].textContent} ${cell.textContent}`);
  find("shown").textContent = `${line.cells[0].textContent}/${line.cells[1].textContent} · ${values.join(" · ")}`;
  show(find("left-image"), find("left").value);
  show(find("right-image"), find("right").value);
  find("strip").replaceChildren(...slots.map((slot, i) => {
    const stage = document.createElement("div");
    stage.className = "stage";
    const label = stage.appendChild(document.createElement("p"));
    label.textContent = title(i);
    show(stage.appendChild(document.createElement("img")), i);
    return stage;
  }));
}
function step(by) {
  const visible = [...body.rows].filter((line) => !line.hidden && store.images[line.dataset.place]);
  if (!visible.length) return;
  const now = visible.findIndex((line) => Number(line.dataset.place) === place);
  open(Number(visible[now < 0 ? 0 : (now + by + visible.length) % visible.length].dataset.place));
}
if (slots.length) {
  for (const [id, chosen] of [["left", 0], ["right", slots.findIndex((slot) => slot.label === "real") - 1]]) {
    find(id).append(...slots.map((slot, i) => new Option(title(i), i)));
    find(id).value = Math.max(0, chosen);
    find(id).addEventListener("change", () => open(place));
  }
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  const move = () => find("position").parentNode.style.setProperty("--at", `${find("position").value}%`);
  find("position").addEventListener("input", move);
  move(); // a reloaded page keeps its position
  for (const link of document.querySelectorAll("[data-open]")) {
    link.addEventListener("click", () => open(Number(link.dataset.open)));
  }
  open(store.images.findIndex(Boolean));
}

/* Paper has what is folded away. */
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
