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
  if (item.textContent !== text && item.textContent !== "–") {
    const card = item.closest("li");
    if (card) flash(card, "focus");
  }
  item.textContent = text;
  if (more !== undefined) $(`${id}-more`).textContent = more;
}

let changes = 0;
rowcast.subscribe("rates", {
  snapshot: (rows) => {
    show("rates", `${rows.length} pairs`);
    count();
  },
  event: ({ data: r }) => {
    changes += 1;
    if (r) $("rates-more").textContent = `${r.source_currency} → ${r.destination_currency} ${r.rate}, ${changes} changes seen`;
  },
});

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
