// The demo's page: 60 pairs from the state channel `rates`. The snapshot is an array of rows, each event one row.
import { Chart } from "./chart.js";
import { connect } from "./rowcast.js";

const $ = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const calm = matchMedia("(prefers-reduced-motion: reduce)");
/** @type {Map<string, { item: HTMLElement, rate: HTMLElement, change: HTMLElement, meta: HTMLElement, chart: Chart, text: string }>} */
const pairs = new Map();
let messages = 0;
/** @type {number | null} */
let lastMessageAt = null;
/** @type {import("./rowcast.js").Status} */
let status;
/** Histories are fetched, and charts drawn, when their card comes into view. */
const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) chartOf(target)?.look(isIntersecting);
});

const rowcast = connect({
  // What is shown is the text that Postgres wrote; only the percentage is computed from floats.
  numbersAsText: true,
  status: showStatus,
});
rowcast.subscribe("rates", {
  snapshot(rows) {
    count();
    const seen = new Set(rows.map(keyOf));
    for (const [key, pair] of pairs) if (!seen.has(key)) remove(key, pair);
    for (const row of rows) show(row, false);
    filter();
  },
  event({ event, data, at }) {
    count();
    if (!data) return;
    if (event === "delete") {
      const pair = pairs.get(keyOf(data));
      if (pair) remove(keyOf(data), pair);
    } else {
      show(data, true);
    }
    // Clocks that disagree would make this a lie; then rather nothing.
    const delay = Date.now() - Date.parse(at);
    $("delay").textContent = delay >= 0 && delay < 60_000 ? `${delay} ms` : "–";
    if (event !== "update") filter();
  },
  error: (_code, message) => ($("detail").textContent = message),
});

/** @param {{ source_currency: string, destination_currency: string }} row */
function keyOf(row) {
  return `${row.source_currency}_${row.destination_currency}`;
}

/** @param {Element} item */
function chartOf(item) {
  return pairs.get(item.id.slice("pair-".length))?.chart;
}

/**
 * @param {{ source_currency: string, destination_currency: string, rate: string, previous: string | null,
 *   updated_at?: string, confidence?: string, sources?: string[], cached?: boolean, expired?: boolean, held_until?: string | null }} row
 * @param {boolean} moved  a change that just happened, not the state that we found
 */
function show(row, moved) {
  const key = keyOf(row);
  const pair = pairs.get(key) ?? add(key, row);
  const before = pair.text || row.previous;
  pair.text = row.rate;
  pair.rate.textContent = grouped(row.rate);
  pair.rate.toggleAttribute("data-long", row.rate.length > 12);
  const base = moved && before ? before : row.previous;
  const percent = base ? ((Number(row.rate) - Number(base)) / Number(base)) * 100 : 0;
  const way = percent > 0 ? "up" : percent < 0 ? "down" : "same";
  pair.change.dataset.way = way;
  const arrow = { up: "▲", down: "▼", same: "•" }[way];
  pair.change.textContent = base ? `${arrow} ${Math.abs(percent).toFixed(2)} %` : arrow;
  // Where the table has it: how sure the rate is, and who quoted it.
  const sure = row.expired ? "expired" : row.cached ? `${row.confidence}, last good` : row.confidence;
  pair.meta.textContent = [sure, byHand(row.held_until) || row.sources?.join(", ")].filter(Boolean).join(" · ");
  pair.meta.title = pair.meta.textContent;
  pair.meta.hidden = !pair.meta.textContent;
  pair.chart.add(Date.parse(row.updated_at ?? "") || Date.now(), row.rate);
  if (moved && way !== "same") flash(pair.item, way);
}

function add(key, row) {
  const item = document.createElement("li");
  item.id = `pair-${key}`;
  const name = part(item, "name", `${row.source_currency} → ${row.destination_currency}`, "button");
  name.ariaLabel = `${row.source_currency} to ${row.destination_currency}, chart`;
  name.ariaExpanded = "false";
  const change = part(item, "change", "");
  const rate = part(item, "rate", "");
  const chart = new Chart(key, `${row.destination_currency} for 1 ${row.source_currency}`);
  item.append(chart.element);
  const meta = part(item, "meta", "");
  const pair = { item, rate, change, meta, chart, text: "" };
  pairs.set(key, pair);
  inView.observe(item);
  const after = [...pairs.keys()].filter((k) => rank(k) > rank(key)).sort((a, b) => (rank(a) < rank(b) ? -1 : 1))[0];
  $("pairs").insertBefore(item, after ? pairs.get(after).item : null);
  return pair;
}

/** @param {string | null | undefined} until  how long a rate that somebody typed stands */
function byHand(until) {
  if (until === "infinity") return "by hand";
  const at = new Date(until ?? NaN);
  return at.getTime() > Date.now() ? `by hand until ${at.toLocaleTimeString([], { timeStyle: "short" })}` : "";
}

/** The dollar's pairs first, then by name; wherever a new one comes, it finds its place. */
function rank(key) {
  return `${key.startsWith("USD") ? 0 : 1}${key}`;
}

function remove(key, pair) {
  inView.unobserve(pair.item);
  pair.item.remove();
  pairs.delete(key);
}

function part(parent, name, text, tag = "span") {
  const e = document.createElement(tag);
  if (e instanceof HTMLButtonElement) e.type = "button";
  e.className = name;
  e.textContent = text;
  parent.append(e);
  return e;
}

/** The eye is led by a wash of colour; who asked for calm has the arrow and the number. */
function flash(item, way) {
  if (calm.matches) return;
  const style = getComputedStyle(document.documentElement);
  const wash = style.getPropertyValue(way === "up" ? "--up-wash" : "--down-wash");
  item.animate([{ backgroundColor: wash }, { backgroundColor: wash, offset: 0.25 }, {}], { duration: 1400, easing: "ease-out" });
}

/** Groups the digits before the point; the digits themselves stay as they came. */
function grouped(text) {
  const [whole, fraction] = text.split(".");
  const digits = whole.replace(/\B(?=(\d{3})+$)/g, " ");
  return fraction === undefined ? digits : `${digits}.${fraction}`;
}

function count() {
  messages += 1;
  lastMessageAt = Date.now();
  $("messages").textContent = String(messages);
  $("age").textContent = "now";
}

function filter() {
  const words = /** @type {HTMLInputElement} */ ($("filter")).value.toUpperCase().split(/[^A-Z]+/).filter(Boolean);
  let shown = 0;
  for (const [key, { item }] of pairs) {
    item.hidden = !words.every((w) => key.includes(w));
    if (!item.hidden) shown += 1;
  }
  $("shown").textContent = pairs.size ? `${shown} of ${pairs.size} pairs` : "";
  $("empty").hidden = shown > 0 || pairs.size === 0;
}

/** @param {import("./rowcast.js").Status} now */
function showStatus(now) {
  status = now;
  const { phase } = now;
  $("link").dataset.phase = phase;
  const text = { connecting: "connecting", live: "live", waiting: "reconnecting", offline: "offline", closed: "closed" }[phase];
  // A screen reader hears the change of phase, and nothing else of this page by itself.
  if ($("phase").textContent !== text) $("phase").textContent = text;
  document.body.toggleAttribute("data-stale", phase !== "live" && pairs.size > 0);
  tick();
}

/** What only time changes. */
function tick() {
  const { phase, retryAt, reason } = status;
  let detail = "";
  if (phase === "waiting" && retryAt) detail = `in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s`;
  if (phase !== "live" && reason) detail += `${detail ? " · " : ""}${reason}`;
  $("detail").textContent = detail;
  if (lastMessageAt !== null) $("age").textContent = ago(Date.now() - lastMessageAt);
}

function ago(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 1) return "now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  return `${Math.floor(s / 3600)} h ago`;
}

async function offerToTry() {
  const answer = await fetch("/pages/rates.json").catch(() => null);
  if (!answer?.ok) return;
  const { psql, update } = await answer.json();
  $("psql").textContent = psql;
  $("update").textContent = update;
  $("try").hidden = false;
}

document.addEventListener("click", async (e) => {
  const button = /** @type {HTMLElement} */ (e.target).closest?.("[data-copy]");
  if (!(button instanceof HTMLElement)) return;
  const code = $(button.dataset.copy ?? "");
  try {
    await navigator.clipboard.writeText(code.textContent ?? "");
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  } catch {
    // No clipboard without a secure context: select it, the reader copies.
    getSelection()?.selectAllChildren(code);
  }
});
$("pairs").addEventListener("click", (e) => {
  const name = /** @type {HTMLElement} */ (e.target).closest("button.name");
  if (!(name instanceof HTMLElement)) return;
  const open = name.ariaExpanded !== "true";
  name.ariaExpanded = String(open);
  name.parentElement?.toggleAttribute("data-open", open);
});
document.addEventListener("keydown", (e) => {
  const box = /** @type {HTMLInputElement} */ ($("filter"));
  if (e.key === "/" && document.activeElement !== box && !e.ctrlKey && !e.metaKey && !e.altKey) {
    e.preventDefault();
    box.focus();
  } else if (e.key === "Escape" && document.activeElement === box) {
    box.value = "";
    filter();
  }
});
$("filter").addEventListener("input", filter);
setInterval(tick, 1000);
offerToTry();
