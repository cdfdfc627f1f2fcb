// One order by its number, in the words of /ws/orders/<id>/: each frame is the whole order. What happened before is in
// its history, read by REST.
import { connectEndpoint } from "./rowcast.js";
import { $, Monitor, flash, offerToTry, part } from "./shell.js";
import { api, choose, tokenOf } from "./who.js";

/** One history reading for all changes of this time. */
const HISTORY_PAUSE_MS = 1000;
const HISTORY_LINES = 14;
/** What the documents call it, spelling included, and what people do. */
const STATUS = { New: "new", Continue: "in progress", Extend: "extended", Droped: "dropped", Done: "done" };
const PARTS = { game_order: "order", lol_division_order: "division", order_transaction: "transaction" };
/** Said by the numbers above, or of no interest to people. */
const SILENT = new Set(["updated_at", "created_at", "is_done"]);

const who = choose(["carl", "max", "ada", "alice"]);
const id = Math.max(1, Math.trunc(Number(new URLSearchParams(location.search).get("id"))) || 2);
/** @type {HTMLInputElement} */ ($("id")).value = String(id);
$("title").textContent = `Order ${id}`;
document.title = `Order ${id}, live · rowcast`;

const monitor = new Monitor();
const orders = connectEndpoint(`/ws/orders/${id}/`, {
  token: tokenOf(who),
  message(frame) {
    if (frame.type === "order.update") show(frame);
    monitor.show();
  },
  status: () => queueMicrotask(() => (monitor.show(), explain())),
});
monitor.watch("order", orders);

/** @param {Record<string, any>} o */
function show(o) {
  const known = !$("order").hidden;
  $("order").hidden = $("history").hidden = false;
  if ($("status").textContent !== word(o.status)) {
    $("status").textContent = word(o.status);
    $("status").dataset.status = o.status;
    if (known) flash($("status"), "focus");
  }
  /** @type {HTMLProgressElement} */ ($("progress")).value = o.progress;
  $("percent").textContent = `${o.progress} %`;
  const reached = [o.reached_rank, roman(o.reached_division)].filter(Boolean).join(" ");
  const marks = o.reached_marks === null ? "" : `, ${o.reached_marks} ${o.reached_marks === 1 ? "mark" : "marks"}`;
  facts({
    reached: reached ? reached + marks : "nothing yet",
    booster: o.booster_username ?? "none yet",
    "booster gets": o.booster_price ?? "–",
    price: o.actual_price,
    changed: new Date(o.timestamp).toLocaleTimeString(),
  });
  $("message").textContent = o.message ?? "";
  $("message").hidden = !o.message;
  readHistory();
}

/** @param {Record<string, string>} all */
function facts(all) {
  for (const [name, value] of Object.entries(all)) {
    let item = document.getElementById(`fact-${name}`);
    if (!item) {
      const pair = part($("facts"), "", "", "div");
      part(pair, "", name, "dt");
      item = part(pair, "", "", "dd");
      item.id = `fact-${name}`;
    }
    if (item.textContent === value) continue;
    if (item.textContent && name !== "changed") flash(item, "focus");
    item.textContent = value;
  }
}

/** A refusal is no outage. */
function explain() {
  const { phase, code, reason } = orders.status;
  /** @type {Record<number, string>} */
  const words = {
    4401: "Only those who are signed in may see orders.",
    4403: "This account may not see this order: its customer, its booster, its manager and staff may.",
    4404: "There is no such order.",
  };
  $("notice").hidden = phase !== "closed";
  $("notice").textContent = words[code ?? 0] ?? reason;
  if (phase === "closed") $("order").hidden = $("history").hidden = true;
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let waiting;
function readHistory() {
  waiting ??= setTimeout(async () => {
    waiting = undefined;
    try {
      showHistory((await api(who, `/orders/${id}/history?limit=${HISTORY_LINES}`)).history);
    } catch (error) {
      $("changes").replaceChildren();
      part($("changes"), "quiet", error instanceof Error ? error.message : String(error), "li");
    }
  }, $("changes").childElementCount ? HISTORY_PAUSE_MS : 0);
}

/** @param {{ id: number, at: string, part: string, operation: string, changes: Record<string, any>, username: string | null }[]} all */
function showHistory(all) {
  const items = all.map((h) => {
    const item = document.createElement("li");
    const at = part(item, "quiet", new Date(h.at).toLocaleTimeString(), "time");
    at.setAttribute("datetime", h.at);
    const name = PARTS[/** @type {keyof PARTS} */ (h.part)] ?? h.part;
    const done = h.operation === "update" ? "" : ` ${h.operation === "insert" ? "made" : "deleted"}`;
    part(item, "part", `${name}${done}`);
    const changed = Object.entries(h.changes).filter(([column]) => !SILENT.has(column));
    const told = changed.map(([column, [before, after]]) =>
      h.operation === "update" ? `${column} ${said(before)} → ${said(after)}` : `${column} ${said(after ?? before)}`,
    );
    part(item, "told", told.join(", "));
    if (h.username) part(item, "quiet", `by ${h.username}`);
    return item;
  });
  $("changes").replaceChildren(...items);
}

/** @param {unknown} value */
function said(value) {
  return value === null || value === undefined ? "–" : String(value);
}

/** @param {string} status */
function word(status) {
  return STATUS[/** @type {keyof STATUS} */ (status)] ?? status;
}

/** @param {number | null} division */
function roman(division) {
  return division === null ? "" : (["", "I", "II", "III", "IV"][division] ?? String(division));
}

offerToTry("order");
