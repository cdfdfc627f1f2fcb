// The demo's page: 60 pairs from the state channel `rates`. The snapshot is an array of rows, each event one row.
import { Chart, POINTS_MAX } from "./chart.js";
import { connect } from "./rowcast.js";
import { $, Monitor, ago, flash, offerToTry, part, showChange } from "./shell.js";

/** @type {Map<string, { item: HTMLElement, rate: HTMLElement, change: HTMLElement, meta: HTMLElement, chart: Chart, text: string }>} */
const pairs = new Map();
let messages = 0;
/** @type {number | null} */
let lastMessageAt = null;
/** Histories are fetched, and charts drawn, when their card comes into view. */
const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) chartOf(target)?.look(isIntersecting);
});

const monitor = new Monitor();
// What is shown is the text that Postgres wrote; only the percentage is computed from floats.
const rowcast = connect({ numbersAsText: true, status: () => monitor.show() });
monitor.watch("rates", rowcast);
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
  const way = showChange(pair.change, percent, base ? told(Math.abs(percent)) : "");
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
  const chart = new Chart(`${row.destination_currency} for 1 ${row.source_currency}`, { load: () => history(key) });
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

/**
 * @param {string} pair  such as `USD_NGN`
 * @returns {Promise<import("./chart.js").Point[]>}
 */
async function history(pair) {
  const answer = await fetch(`/api/rates/history?pair=${pair}&limit=${POINTS_MAX}`);
  if (!answer.ok) return [];
  const { points } = await answer.json();
  return points.map((/** @type {{ at: string, rate: string }} */ p) => ({ at: Date.parse(p.at), value: p.rate }));
}

/** @param {number} percent */
function told(percent) {
  return percent > 0 && percent < 0.005 ? "< 0.01 %" : `${percent.toFixed(2)} %`;
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
    item.hidden = !words.every((w) => key.includes(w) || key.replace("_", "").includes(w));
    if (!item.hidden) shown += 1;
  }
  $("shown").textContent = pairs.size ? `${shown} of ${pairs.size} pairs` : "";
  $("empty").hidden = shown > 0 || pairs.size === 0;
}

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
setInterval(() => {
  if (lastMessageAt !== null) $("age").textContent = ago(lastMessageAt);
}, 1000);
offerToTry("rates");
