// The portfolio's page, in the words of /ws/portfolio/. Its server sends updates from the start of each connection on;
// whoever stopped them wants them stopped after a reconnect, too.
import { Chart, POINTS_MAX } from "./chart.js";
import { connectEndpoint } from "./rowcast.js";
import { $, Monitor, flash, offerToTry, part, showChange } from "./shell.js";
import { api, choose, tokenOf } from "./who.js";

/**
 * @typedef {{ symbol: string, name: string, current_price: number, change: number, change_percent: number,
 *   quantity: number, value: number }} Investment
 * @typedef {{ portfolio_id: number | null, portfolio_name: string, total_value: number, total_change: number,
 *   total_change_percent: number, investments: Investment[] }} Portfolio
 */

const money = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const amount = new Intl.NumberFormat("en", { maximumFractionDigits: 6 });
const HISTORY_MS = 20 * 60_000;
const who = choose(["alice"], "everybody");
const monitor = new Monitor();
/** @type {Map<string, { row: HTMLTableRowElement, cells: Record<string, HTMLElement>, price: number }>} */
const rows = new Map();
/** @type {{ id: number, chart: Chart } | null} */
let drawn = null;
let wanted = true;

const feed = connectEndpoint("/ws/portfolio/", {
  token: tokenOf(who),
  message(frame) {
    if (frame.type === "connection_established" && !wanted) feed.send({ type: "stop_updates" });
    if (frame.type === "price_update" || frame.type === "portfolio_data") show(frame.data, Date.parse(frame.timestamp));
    monitor.show();
    controls();
  },
  // Called before `feed` is there, too.
  status: () => queueMicrotask(() => (monitor.show(), controls())),
  probe: () => ({ type: "get_portfolio_data" }),
});
monitor.watch("portfolio", feed);

/** @param {boolean} on */
function want(on) {
  wanted = on;
  feed.send({ type: on ? "start_updates" : "stop_updates" });
  controls();
}

function controls() {
  const live = feed.status.phase === "live";
  for (const [id, on] of /** @type {[string, boolean][]} */ ([["start", true], ["stop", false]])) {
    const button = /** @type {HTMLButtonElement} */ ($(id));
    const held = document.activeElement === button;
    button.disabled = !live || wanted === on;
    // The other one goes on where this one was.
    if (held && button.disabled && live) $(on ? "stop" : "start").focus();
  }
  const said = !live ? "" : wanted ? "Updates run." : "Updates are stopped.";
  if ($("running").textContent !== said) $("running").textContent = said;
}

/**
 * @param {Portfolio | null} data
 * @param {number} at
 */
function show(data, at) {
  $("empty").hidden = Boolean(data?.investments.length);
  if (!data) return;
  $("name").textContent = data.portfolio_name;
  $("value").textContent = money.format(data.total_value);
  showChange($("change"), data.total_change, `${signed(data.total_change)} (${signed(data.total_change_percent)} %) today`);
  chart(data)?.add(at, String(data.total_value));
  const seen = new Set(data.investments.map((i) => i.symbol));
  for (const [symbol, { row }] of rows) {
    if (seen.has(symbol)) continue;
    row.remove();
    rows.delete(symbol);
  }
  for (const investment of data.investments) showInvestment(investment);
}

/** @param {Investment} i */
function showInvestment(i) {
  let known = rows.get(i.symbol);
  if (!known) {
    const row = /** @type {HTMLTableSectionElement} */ ($("investments")).insertRow();
    const head = part(row, "symbol", "", "th");
    head.setAttribute("scope", "row");
    part(head, "", i.symbol, "strong");
    part(head, "quiet", i.name);
    /** @type {Record<string, HTMLElement>} */ const cells = {};
    for (const name of ["price", "change", "quantity", "value"]) cells[name] = part(row, name, "", "td");
    known = { row, cells, price: i.current_price };
    rows.set(i.symbol, known);
  }
  const { cells, row, price } = known;
  cells.price.textContent = money.format(i.current_price);
  showChange(cells.change, i.change, `${signed(i.change)} (${signed(i.change_percent)} %)`);
  cells.quantity.textContent = amount.format(i.quantity);
  cells.value.textContent = money.format(i.value);
  if (i.current_price !== price) flash(row, i.current_price > price ? "up" : "down");
  known.price = i.current_price;
}

/**
 * One for each portfolio: its history, then what comes.
 *
 * @param {Portfolio} data
 */
function chart({ portfolio_id: id, portfolio_name }) {
  if (id === null) return null;
  if (drawn?.id === id) return drawn.chart;
  const history = async () => {
    const since = new Date(Date.now() - HISTORY_MS).toISOString();
    /** @type {{ at: string, value: number }[]} */
    const points = await api(who, `/portfolios/${id}/history?since=${since}&points=${POINTS_MAX}`);
    return points.map((p) => ({ at: Date.parse(p.at), value: String(p.value) }));
  };
  const say = (/** @type {string} */ value) => money.format(Number(value));
  drawn = { id, chart: new Chart(portfolio_name, { load: history, say, readable: true }) };
  $("chart").replaceChildren(drawn.chart.element);
  drawn.chart.look(true);
  return drawn.chart;
}

/** @param {number} value */
function signed(value) {
  return (value > 0 ? "+" : "") + money.format(value);
}

$("start").addEventListener("click", () => want(true));
$("stop").addEventListener("click", () => want(false));
offerToTry("portfolio");
