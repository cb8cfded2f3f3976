// What pages do beyond reading: live regions, followed logs, copying, keys. Everything it shows the server can render as well.
"use strict";
const $ = (id) => document.getElementById(id);
const announce = (text) => { $("announce").textContent = text; };

// Live: at a journal entry the page is fetched again and the regions that differ are swapped.
const normal = (node) => {
  const copy = node.cloneNode(true);
  copy.querySelectorAll("time:not([data-absolute])").forEach((time) => { time.textContent = ""; });
  ["open", "hidden"].forEach((name) => copy.querySelectorAll(`[${name}]`).forEach((one) => one.removeAttribute(name)));
  copy.querySelectorAll(".copy").forEach((button) => { button.textContent = "copy"; });
  return copy.innerHTML;
};
const dirty = (region) => [...region.querySelectorAll("input, textarea")].some(
  (field) => field === document.activeElement || (field.type === "radio" ? field.checked !== field.defaultChecked : field.value !== field.defaultValue));

function swap(old, fresh) {
  const open = [...old.querySelectorAll("details[open]")].map((details) => details.id);
  const active = document.activeElement;
  const focus = old.contains(active) && [active.id, active.getAttribute("href"), active.dataset.copy];
  const health = new Map([...old.querySelectorAll("[data-health]")].map((cell) => [cell.dataset.place, cell.dataset.health]));
  old.innerHTML = fresh.innerHTML;
  old.className = fresh.className;
  open.forEach((id) => { if (id && $(id)) $(id).open = true; });
  if (focus) {
    const again = [...old.querySelectorAll("a, button, summary, [tabindex]")].find((one) =>
      (focus[0] && one.id === focus[0]) || (focus[1] && one.getAttribute("href") === focus[1]) || (focus[2] && one.dataset.copy === focus[2]));
    if (again) again.focus({preventScroll: true});
  }
  const moved = ({place, health: now}) => health.has(place) && health.get(place) !== now;
  const changed = [...old.querySelectorAll("[data-health]")].filter((cell) => moved(cell.dataset));
  if (changed.length) announce(changed.map((cell) => `${cell.dataset.place} is ${cell.dataset.health}`).join(", "));
}

let busy = false, again = false;
async function refresh() {
  if (busy || document.hidden) { again = true; return; }
  [busy, again] = [true, false];
  try {
    const answer = await fetch(location.href, {headers: {"X-Fragment": "main"}, cache: "no-store"});
    if (answer.status === 401) { location.reload(); return; }
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelectorAll("[data-region]").forEach((old) => {
      const fresh = page.getElementById(old.id);
      if (fresh && !dirty(old) && normal(fresh) !== normal(old)) swap(old, fresh);
    });
    times();
    filter();
  } catch { again = true; } finally {
    busy = false;
    setTimeout(() => { if (again) refresh(); }, 1000);
  }
}

function follow() {
  const after = document.body.dataset.after;
  if (after === undefined || !document.querySelector("[data-region]")) return;
  const source = new EventSource(`/api/v1/events/stream?after=${after}`);
  let timer = 0;
  source.addEventListener("entry", () => { clearTimeout(timer); timer = setTimeout(refresh, 150); });
  source.onopen = () => { $("link").hidden = true; };
  source.onerror = () => {
    $("link").textContent = "The server does not answer; what you see may be old. Trying again.";
    $("link").hidden = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) refresh(); });
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
function times() {
  document.querySelectorAll("time:not([data-absolute])").forEach((time) => {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (Number.isNaN(seconds)) return;
    const [unit, size] = UNITS.find(([, length]) => seconds >= length) || ["", 0];
    time.textContent = unit ? `${Math.floor(seconds / size)} ${unit} ago` : "now";
  });
}

// Terminal colours of streamed lines; the same rules as web/ansi.py.
const ESCAPE = /\x1b(?:\[([0-9;:]*)([ -/]*[@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[()*+][0-9A-Za-z]|[ -~]?)/g;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
const STYLES = {1: "bold", 2: "dim", 3: "italic", 4: "under", 9: "strike"};
const OFF = {22: ["bold", "dim"], 23: ["italic"], 24: ["under"], 29: ["strike"]};
const colours = {styles: new Set(), fg: "", bg: ""};
const nearest = (r, g, b) => (Math.max(r, g, b) > 200 ? 8 : 0) + (r > 100) + 2 * (g > 100) + 4 * (b > 100);
function extended(rest) {
  const kind = rest.shift();
  if (kind === 5 && rest.length) {
    const n = rest.shift();
    if (n < 16 || n >= 232) return n < 16 ? n : n < 244 ? 8 : 7;
    return nearest((Math.floor((n - 16) / 36) % 6) * 51, (Math.floor((n - 16) / 6) % 6) * 51, ((n - 16) % 6) * 51);
  }
  return kind === 2 && rest.length >= 3 ? nearest(...rest.splice(0, 3)) : null;
}
function apply(codes) {
  while (codes.length) {
    const code = codes.shift();
    let number = null;
    if (code === 0) { colours.styles.clear(); colours.fg = colours.bg = ""; }
    else if (STYLES[code]) colours.styles.add(STYLES[code]);
    else if (OFF[code]) OFF[code].forEach((name) => colours.styles.delete(name));
    else if (code === 39 || code === 49) colours[code === 39 ? "fg" : "bg"] = "";
    else if (code === 38 || code === 48) number = extended(codes);
    else if ((code >= 30 && code <= 37) || (code >= 40 && code <= 47)) number = code % 10;
    else if ((code >= 90 && code <= 97) || (code >= 100 && code <= 107)) number = (code % 10) + 8;
    if (number !== null) { const layer = [4, 10].includes(Math.floor(code / 10)) ? "bg" : "fg"; colours[layer] = layer + number; }
  }
}
function paint(text, into) {
  const line = text.replace(/[\r\n]+$/, "").split("\r").pop();
  const add = (part) => {
    const className = [...colours.styles, colours.fg, colours.bg].filter(Boolean).join(" ");
    if (part) into.append(Object.assign(document.createElement("span"), {className, textContent: part.replace(CONTROL, "\ufffd")}));
  };
  let start = 0;
  for (const match of line.matchAll(ESCAPE)) {
    add(line.slice(start, match.index));
    start = match.index + match[0].length;
    if (match[2] === "m") apply(match[1].split(/[;:]/).slice(0, 32).map(Number));
  }
  add(line.slice(start));
}

function stream(list) {
  const source = new EventSource(list.dataset.stream);
  let total = list.children.length;
  source.addEventListener("log", (event) => {
    const record = JSON.parse(event.data), number = record.seq + 1;
    if (total++ >= 20000) { $("log-count").textContent = "only the first 20000 lines are shown; see raw"; source.close(); return; }
    const make = (name, fields) => Object.assign(document.createElement(name), fields);
    const line = make("li", {id: `L${number}`, className: record.stream}), text = make("span", {className: "t"});
    const link = make("a", {className: "n", href: `${list.dataset.here}#L${number}`, title: record.at, textContent: number});
    paint(record.text, text);
    line.append(link, text);
    list.append(line);
    if ($("no-lines")) $("no-lines").remove();
    $("log-count").textContent = `${total} lines`;
    if ($("follow") && $("follow").checked) list.scrollTop = list.scrollHeight;
  });
  source.addEventListener("end", (event) => {
    source.close();
    if ($("follow")) $("follow").parentElement.remove();
    const row = JSON.parse(event.data);
    if (row.state) $("log-state").textContent = row.state;
    setTimeout(refresh, 150);
  });
  addEventListener("pagehide", () => source.close());
}

function filter() {
  const field = $("q");
  if (!field) return;
  document.querySelectorAll("tr[data-name]").forEach((row) => { row.hidden = !row.dataset.name.toLowerCase().includes(field.value.toLowerCase()); });
}

let prefix = 0;
function key(event) {
  const typing = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const jumps = {h: "/", r: "/runs", j: "/events"};
  if (Date.now() - prefix < 1500 && jumps[event.key]) { location.href = jumps[event.key]; return; }
  prefix = event.key === "g" ? Date.now() : 0;
  if (event.key === "?") $("keys").showModal();
  if (event.key === "/" && $("q")) { event.preventDefault(); $("q").focus(); $("q").select(); }
  if (event.key === "w") {
    const near = document.activeElement.closest(".cell, li");
    const link = (near && near.querySelector("a[href^='/why/']")) || document.querySelector("a.badge, a.whole, a[href^='/why/']");
    if (link) location.href = link.href;
  }
}

async function copy(event) {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = "copied"; } catch {
    const range = document.createRange();
    range.selectNodeContents(button.previousElementSibling || button.parentElement);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    button.textContent = "selected";
  }
  setTimeout(() => { button.textContent = "copy"; }, 2000);
}

document.addEventListener("keydown", key);
document.addEventListener("click", copy);
if ($("q")) $("q").addEventListener("input", () => {
  filter();
  history.replaceState(null, "", $("q").value ? `/?q=${encodeURIComponent($("q").value)}` : "/");
  refresh();  // rows that the server had left out come back
});
if ($("lines") && "end" in $("lines").dataset && !location.hash) $("lines").scrollTop = $("lines").scrollHeight;
if ($("lines") && $("lines").dataset.stream) stream($("lines"));
times();
setInterval(times, 10000);
follow();
