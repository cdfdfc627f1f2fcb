// What the server does, from its own metrics: read again and again while somebody looks, and said so when it does not
// answer. Nothing here is pushed: a page that counts connections should not be one of them.
import { Chart } from "./chart.js";
import { $, PHASES, part } from "./shell.js";

const PAUSE_MS = 2000;
const FAILED_PAUSE_MS = 4000;
const CHANNELS_MAX = 50;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const some = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** @typedef {Map<string, number>} Sample  by name; labelled ones are summed, and also kept as `name{label="x"}` */

/**
 * A gauge is shown as it is, a counter as what it grew by in a second.
 * @type {{ title: string, value: (now: Sample, rate: (name: string) => number | null) => number | null, unit?: string }[]}
 */
const TILES = [
  { title: "connections", value: (now) => now.get("rowcast_hub_connections") ?? 0 },
  { title: "subscriptions", value: (now) => now.get("rowcast_hub_subscriptions") ?? 0 },
  { title: "channels", value: (now) => now.get("rowcast_hub_channels") ?? 0 },
  { title: "messages sent", value: (_, rate) => rate("rowcast_hub_frames_sent_total"), unit: "/s" },
  { title: "bytes sent", value: (_, rate) => rate("rowcast_hub_bytes_sent_total"), unit: "/s" },
  { title: "rows from Postgres", value: (_, rate) => rate("rowcast_listener_rows_total"), unit: "/s" },
  {
    title: "write to dispatch",
    value: (_, rate) => {
      const timed = rate("rowcast_dispatches_timed_total");
      return timed ? ((rate("rowcast_dispatch_seconds_total") ?? 0) / timed) * 1000 : null;
    },
    unit: " ms",
  },
  { title: "waiting for slow clients", value: (now) => now.get("rowcast_hub_backlog_bytes") ?? 0, unit: " bytes" },
];
/** Counters that should be told at their own value. @type {[string, string][]} */
const MORE = [
  ["WebSockets opened", "rowcast_websockets_total"],
  ["event streams opened", "rowcast_event_streams_total"],
  ["messages sent", "rowcast_hub_frames_sent_total"],
  ["commands understood", "rowcast_commands_total"],
  ["frames refused", "rowcast_refused_frames_total"],
  ["closed as too slow", "rowcast_hub_slow_closed_total"],
  ["closed as silent", "rowcast_hub_idle_closed_total"],
  ["resumed subscriptions", 'rowcast_joins_total{how="resumed"}'],
  ["resets", "rowcast_resets_total"],
  ["sessions with Postgres replaced", "rowcast_listener_reconnects_total"],
];

/** @type {{ at: number, sample: Sample } | null} */
let before = null;
let failing = false;
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

const tiles = TILES.map(({ title }) => {
  const tile = part($("tiles"), "card tile", "", "section");
  const name = part(tile, "quiet", title, "h2");
  name.id = `tile-${title.replaceAll(" ", "-")}`;
  tile.setAttribute("aria-labelledby", name.id);
  const value = part(tile, "big", "–", "p");
  const chart = new Chart(title, { say: (text) => some.format(Number(text)) });
  tile.append(chart.element);
  chart.look(true);
  return { value, chart };
});

async function look() {
  clearTimeout(timer);
  if (document.visibilityState === "hidden") return;
  try {
    const [metrics, channels] = await Promise.all([read("/metrics"), read(`/api/channels?limit=${CHANNELS_MAX}`)]);
    showMetrics(parse(await metrics.text()));
    showChannels((await channels.json()).channels ?? []);
    state("live", "");
    failing = false;
  } catch (error) {
    failing = true;
    before = null;
    state("waiting", error instanceof Error && error.name !== "TypeError" ? error.message : "no connection");
  }
  timer = setTimeout(look, failing ? FAILED_PAUSE_MS : PAUSE_MS);
}

/** @param {string} url */
async function read(url) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(FAILED_PAUSE_MS) });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer;
}

/**
 * @param {"live" | "waiting"} phase
 * @param {string} reason
 */
function state(phase, reason) {
  $("link").dataset.phase = phase;
  const said = phase === "live" ? "answering" : PHASES[phase];
  if ($("phase").textContent !== said) $("phase").textContent = said;
  $("detail").textContent = reason;
  document.body.toggleAttribute("data-stale", phase !== "live");
}

/**
 * The OpenMetrics text format, as much of it as numbers need.
 *
 * @param {string} text
 * @returns {Sample}
 */
function parse(text) {
  /** @type {Sample} */ const sample = new Map();
  for (const line of text.split("\n")) {
    const found = /^([a-z_]+)(\{[^}]*\})? (\S+)/.exec(line);
    if (!found) continue;
    const [, name, labels, value] = found;
    if (labels) sample.set(name + labels, Number(value));
    sample.set(name, (sample.get(name) ?? 0) + Number(value));
  }
  return sample;
}

/** @param {Sample} sample */
function showMetrics(sample) {
  const now = { at: Date.now(), sample };
  const then = before;
  before = now;
  /** @type {(name: string) => number | null} null until there are two readings, and after a restart */
  const rate = (name) => {
    if (!then) return null;
    const grown = (sample.get(name) ?? 0) - (then.sample.get(name) ?? 0);
    return grown < 0 ? null : grown / ((now.at - then.at) / 1000);
  };
  TILES.forEach(({ value, unit = "" }, i) => {
    const number = value(sample, rate);
    tiles[i].value.textContent = number === null ? "–" : `${short(number)}${unit}`;
    if (number !== null) tiles[i].chart.sample(now.at, String(number));
  });
  for (const [name, metric] of MORE) {
    let item = document.getElementById(metric);
    if (!item) {
      const pair = part($("more"), "", "", "div");
      part(pair, "", name, "dt");
      item = part(pair, "", "", "dd");
      item.id = metric;
    }
    item.textContent = whole.format(sample.get(metric) ?? 0);
  }
}

/** @param {number} number */
function short(number) {
  if (number >= 1e6) return `${some.format(number / 1e6)} M`;
  if (number >= 1e4) return `${some.format(number / 1e3)} k`;
  return some.format(number);
}

/** @param {{ channel: string, subscribers: number }[]} all */
function showChannels(all) {
  const sorted = all.sort((a, b) => b.subscribers - a.subscribers);
  const rows = sorted.map(({ channel, subscribers }) => {
    const row = document.createElement("tr");
    part(row, "", channel, "td");
    part(row, "", whole.format(subscribers), "td");
    return row;
  });
  $("channels").replaceChildren(...rows);
  $("empty").hidden = rows.length > 0;
}

document.addEventListener("visibilitychange", look);
look();
