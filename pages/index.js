// All demos at a glance: four channels of the native dialect over one connection.
import { connect } from "./rowcast.js";
import { $, Monitor, flash, offerToTry } from "./shell.js";

const PORTFOLIO = 1;
const ORDER = 2;

const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const monitor = new Monitor();
const rowcast = connect({ status: () => queueMicrotask(() => monitor.show()) });
monitor.watch("all", rowcast);

/**
 * @param {string} id
 * @param {string} text
 * @param {string} [more]
 */
function show(id, text, more) {
  const item = $(id);
  if (item.textContent !== text) {
    const card = item.closest("li");
    if (card && item.textContent !== "–") flash(card, "focus");
    item.textContent = text;
  }
  if (more !== undefined) $(`${id}-more`).textContent = more;
}

/** @type {Set<string>} */
const pairs = new Set();
let changes = 0;
rowcast.subscribe("rates", {
  snapshot: (rows) => {
    pairs.clear();
    for (const r of rows) pairs.add(pairOf(r));
    show("rates", `${pairs.size} pairs`);
    count();
  },
  event: ({ event, data: r }) => {
    changes += 1;
    if (!r) return;
    if (event === "delete") pairs.delete(pairOf(r));
    else pairs.add(pairOf(r));
    show("rates", `${pairs.size} pairs`, `${pairOf(r)} ${r.rate}, ${changes} changes seen`);
  },
});

/** @param {{ source_currency: string, destination_currency: string }} row */
function pairOf(row) {
  return `${row.source_currency} → ${row.destination_currency}`;
}

/** A state channel: snapshot and event both are all that there is.
 * @param {string} channel
 * @param {(data: any) => void} state
 */
function watch(channel, state) {
  const take = (/** @type {any} */ data) => {
    if (data) state(data);
  };
  rowcast.subscribe(channel, { snapshot: take, event: (e) => take(e.data) });
}

watch(`portfolio:${PORTFOLIO}`, (p) => {
  const sign = p.total_change > 0 ? "+" : "";
  show("portfolio", money.format(p.total_value), `${p.portfolio_name}, ${sign}${money.format(p.total_change_percent)} % today`);
});
watch(`order:${ORDER}`, (o) => show("order", `${o.progress} %`, `order ${o.order_id}, ${o.reached_rank ?? "not begun"}`));
watch("leaderboard", (all) => {
  if (all.length) show("learning", all[0].name, `leads with ${all[0].points} points`);
});

async function count() {
  const answer = await fetch("/metrics").catch(() => null);
  const found = answer?.ok && /^rowcast_hub_connections (\d+)/m.exec(await answer.text());
  if (found) $("connections").textContent = `${found[1]} open`;
}

setInterval(() => document.visibilityState === "visible" && count(), 5000);
offerToTry("index");
