// What the demo's pages share: the state of their connections, the debug panel, the line to try in psql, small parts.

/** @typedef {{ status: import("./rowcast.js").Status }} Connection */

/** @type {(id: string) => HTMLElement} */
export const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
export const calm = matchMedia("(prefers-reduced-motion: reduce)");
export const PHASES = { connecting: "connecting", live: "live", waiting: "reconnecting", offline: "offline", closed: "closed" };
/** Long frames are cut in the debug panel. */
const SHOWN_MAX = 4000;

/**
 * Says what the page's connections are doing, in the header and in the debug panel, and marks the page as stale while
 * what it shows may be old news.
 */
export class Monitor {
  /** @type {Map<string, { connection: Connection, parts: Record<string, HTMLElement> | null }>} */
  #watched = new Map();
  #seen = false;

  constructor() {
    setInterval(() => this.show(), 1000);
    document.getElementById("debug")?.addEventListener("toggle", () => this.show());
  }

  /**
   * @param {string} name  shown where there are several
   * @param {Connection} connection
   */
  watch(name, connection) {
    this.drop(name);
    this.#watched.set(name, { connection, parts: null });
    this.show();
  }

  /** @param {string} name */
  drop(name) {
    const parts = this.#watched.get(name)?.parts;
    parts?.heading.remove();
    parts?.list.remove();
    parts?.last.remove();
    this.#watched.delete(name);
  }

  /** Those that will not come back, and why. */
  closed() {
    const all = [...this.#watched].map(([name, { connection }]) => ({ name, ...connection.status }));
    return all.filter((s) => s.phase === "closed");
  }

  /** A phase changed, a message came, or only time passed. */
  show() {
    const all = [...this.#watched.values()].map((w) => w.connection.status);
    const worst = ["closed", "offline", "waiting", "connecting", "live"].find((p) => all.some((s) => s.phase === p));
    const status = all.find((s) => s.phase === worst);
    if (!status) return;
    const { phase, retryAt, reason } = status;
    this.#seen ||= all.some((s) => s.messages > 0);
    $("link").dataset.phase = phase;
    const live = all.filter((s) => s.phase === "live").length;
    const some = all.length > 1 && live > 0 && live < all.length ? `, ${live} of ${all.length} live` : "";
    // A screen reader hears the change of phase, and nothing else of this by itself.
    const said = PHASES[phase] + some;
    if ($("phase").textContent !== said) $("phase").textContent = said;
    let detail = "";
    if (phase === "waiting" && retryAt) detail = `in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s`;
    if (phase !== "live" && reason) detail += `${detail ? " · " : ""}${reason}`;
    $("detail").textContent = detail;
    document.body.toggleAttribute("data-stale", phase !== "live" && this.#seen);
    this.#debug();
  }

  #debug() {
    const panel = document.getElementById("debug");
    if (!(panel instanceof HTMLDetailsElement) || !panel.open) return;
    for (const [name, watched] of this.#watched) {
      const parts = (watched.parts ??= rows(panel, name));
      const s = watched.connection.status;
      parts.heading.hidden = this.#watched.size < 2;
      parts.url.textContent = s.url;
      parts.state.textContent = `${PHASES[s.phase]}${s.reason ? ` · ${s.reason}` : ""}${s.code ? ` · code ${s.code}` : ""}`;
      parts.messages.textContent = String(s.messages);
      parts.errors.textContent = String(s.errors);
      parts.age.textContent = s.lastMessageAt === null ? "none yet" : ago(s.lastMessageAt);
      const last = pretty(s.lastMessage);
      parts.last.hidden = !last;
      if (parts.last.textContent !== last) parts.last.textContent = last;
    }
  }
}

/**
 * @param {HTMLElement} panel
 * @param {string} name
 */
function rows(panel, name) {
  const heading = part(panel, "", name, "h3");
  const list = part(panel, "", "", "dl");
  /** @type {Record<string, HTMLElement>} */
  const parts = { heading, list };
  const shown = { url: "URL", state: "state", messages: "messages", errors: "errors", age: "last message" };
  for (const [key, label] of Object.entries(shown)) {
    part(list, "", label, "dt");
    parts[key] = part(list, key, "", "dd");
  }
  parts.last = part(panel, "last", "", "pre");
  parts.last.tabIndex = 0;
  return parts;
}

/** @param {string} text */
function pretty(text) {
  try {
    const whole = JSON.stringify(JSON.parse(text), null, 2);
    return whole.length > SHOWN_MAX ? `${whole.slice(0, SHOWN_MAX)}\n… ${whole.length - SHOWN_MAX} more characters` : whole;
  } catch {
    return text.slice(0, SHOWN_MAX);
  }
}

/** @param {number} at */
export function ago(at) {
  const s = Math.max(0, Math.floor((Date.now() - at) / 1000));
  if (s < 1) return "now";
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  return new Date(at).toLocaleDateString();
}

/**
 * @param {Element} parent
 * @param {string} className
 * @param {string} text
 * @param {string} [tag]
 */
export function part(parent, className, text, tag = "span") {
  const e = document.createElement(tag);
  if (e instanceof HTMLButtonElement) e.type = "button";
  if (className) e.className = className;
  e.textContent = text;
  parent.append(e);
  return e;
}

/**
 * The eye is led by a wash of colour; who asked for calm has the arrow and the number.
 *
 * @param {Element} item
 * @param {"up" | "down" | "focus"} way
 */
export function flash(item, way) {
  if (calm.matches) return;
  const wash = getComputedStyle(document.documentElement).getPropertyValue(`--${way}-wash`);
  item.animate([{ backgroundColor: wash }, { backgroundColor: wash, offset: 0.25 }, {}], { duration: 1400, easing: "ease-out" });
}

/**
 * `▲ 1.25 %`, with the way as data for the colour.
 *
 * @param {HTMLElement} item
 * @param {number} change
 * @param {string} text
 */
export function showChange(item, change, text) {
  const way = change > 0 ? "up" : change < 0 ? "down" : "same";
  item.dataset.way = way;
  item.textContent = `${{ up: "▲", down: "▼", same: "•" }[way]}${text && ` ${text}`}`;
  return way;
}

/**
 * Fills the panel that tells what to type into psql: any writer will do.
 *
 * @param {string} page
 */
export async function offerToTry(page) {
  const answer = await fetch("/pages/try.json").catch(() => null);
  if (!answer?.ok) return;
  const { psql, statements } = await answer.json();
  if (!statements[page]) return;
  $("psql").textContent = psql;
  $("update").textContent = statements[page];
  $("try").hidden = false;
}

// On a phone the row of demos is wider than the screen.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

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
