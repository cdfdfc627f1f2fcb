// A client of rowcast's native dialect (docs/PROTOCOL.md) in one module without dependencies: it reconnects with
// jittered backoff and resumes each channel by its cursor, so that a page sees every event once and in order, or is
// told to start over.
//
//   import { connect } from "./rowcast.js";
//   const rowcast = connect();
//   rowcast.subscribe("orders:1", { snapshot: show, event: (e) => add(e.event, e.data) });

/**
 * @typedef {"connecting" | "live" | "waiting" | "offline" | "closed"} Phase
 *   `waiting`: the next try is at `retryAt`. `offline`: the browser says that there is no network.
 *
 * @typedef {object} Status
 * @property {Phase} phase
 * @property {number | null} retryAt       milliseconds since 1970, while waiting
 * @property {number | null} lastFrameAt   when the last frame (a heartbeat counts) came
 * @property {string} reason               why the last connection ended; empty at first
 *
 * @typedef {object} Event
 * @property {string} channel
 * @property {string} event
 * @property {any} data
 * @property {string} at       when the change was made: RFC 3339, UTC, microseconds
 * @property {string} [cursor] the place to resume from
 *
 * @typedef {object} Handlers
 * @property {(data: any, kind: "event" | "state") => void} [snapshot]  replaces all that was shown
 * @property {(event: Event) => void} [event]
 * @property {(code: string, message: string) => void} [reset]  the stream began anew: a snapshot follows
 * @property {(code: string, message: string) => void} [error]
 *
 * @typedef {object} Options
 * @property {string} [url]             default: `/ws` of the page's own host
 * @property {boolean} [numbersAsText]  numbers within `data` come as the text that Postgres wrote: JavaScript's own
 *   are floats and cannot hold every numeric or bigint. In browsers without JSON.parse source text access (before
 *   Chrome 114, Firefox 135, Safari 18.4) the text is that of the float.
 * @property {(status: Status) => void} [status]
 * @property {(frame: any) => void} [frame]  every frame, as parsed
 */

const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 20_000;
const HEARTBEAT_MS_DEFAULT = 15_000;
/** A connection that was live this long was a good one: the backoff starts from the beginning. */
const SETTLED_MS = 10_000;
/** Close codes that say: the same again will not help, and: come back later than usual (docs/PROTOCOL.md). */
const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1008, 1009, 4400, 4401, 4403, 4404]);
const LATER_CODES = new Set([1013, 4429]);
/** Errors of a subscribe that pass (docs/ERRORS.md). */
const PASSING_ERRORS = new Set(["not_ready", "overloaded", "database_unavailable", "view_timeout"]);

/** @param {Options} [options] */
export function connect(options = {}) {
  return new Client(options);
}

class Client {
  /** @type {Options} */ #options;
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {Map<string, { handlers: Handlers, cursor: string | null, kind: "event" | "state", live: boolean, failures: number, timer: number }>} */
  #channels = new Map();
  /** @type {Status} */ #status = { phase: "connecting", retryAt: null, lastFrameAt: null, reason: "" };
  #failures = 0;
  #liveSince = 0;
  #heartbeatMs = HEARTBEAT_MS_DEFAULT;
  #retryTimer = 0;
  #watchdog = 0;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.addEventListener?.("offline", this.#lost);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    this.#open();
  }

  get status() {
    return this.#status;
  }

  /**
   * @param {string} channel
   * @param {Handlers} handlers
   * @returns {() => void} unsubscribes
   */
  subscribe(channel, handlers) {
    if (this.#channels.has(channel)) throw new Error(`already subscribed to ${channel}`);
    this.#channels.set(channel, { handlers, cursor: null, kind: "event", live: false, failures: 0, timer: 0 });
    this.#ask(channel);
    return () => {
      clearTimeout(this.#channels.get(channel)?.timer);
      if (this.#channels.delete(channel)) this.#send({ type: "unsubscribe", channel });
    };
  }

  close() {
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.removeEventListener?.("offline", this.#lost);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    clearTimeout(this.#retryTimer);
    this.#drop("closed by the page");
    this.#tell({ phase: "closed", retryAt: null });
  }

  // connecting -> live -> (lost) -> waiting -> connecting …; offline until the browser says online

  #open() {
    clearTimeout(this.#retryTimer);
    this.#tell({ phase: "connecting", retryAt: null });
    const url = this.#options.url ?? `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`;
    const socket = new WebSocket(url);
    this.#socket = socket;
    this.#watch(HEARTBEAT_MS_DEFAULT);
    // Whatever a socket says after it was given up is not ours any more.
    socket.onmessage = (m) => socket === this.#socket && this.#receive(m.data);
    socket.onclose = (e) => {
      if (socket !== this.#socket) return;
      const reason = e.reason || (e.code === 1006 ? "no connection" : `closed with code ${e.code}`);
      this.#drop(reason);
      if (FINAL_CODES.has(e.code)) {
        this.#tell({ phase: "closed", retryAt: null, reason });
        return;
      }
      if (LATER_CODES.has(e.code)) this.#failures = Math.max(this.#failures, 5);
      this.#retry(reason);
    };
  }

  /** Forgets the socket: its late events find that they are not the current one. */
  #drop(reason) {
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    for (const c of this.#channels.values()) {
      c.live = false;
      clearTimeout(c.timer);
    }
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close(1000, reason);
  }

  #retry(reason) {
    if (this.#liveSince && Date.now() - this.#liveSince > SETTLED_MS) this.#failures = 0;
    this.#liveSince = 0;
    if (globalThis.navigator?.onLine === false) {
      this.#tell({ phase: "offline", retryAt: null, reason });
      return;
    }
    const wait = backoff(this.#failures++);
    this.#retryTimer = setTimeout(() => this.#open(), wait);
    this.#tell({ phase: "waiting", retryAt: Date.now() + wait, reason });
  }

  #wake = () => {
    const { phase } = this.#status;
    if (phase !== "waiting" && phase !== "offline") return;
    if (globalThis.document?.visibilityState === "hidden") return;
    this.#open();
  };

  #lost = () => {
    if (this.#status.phase === "closed") return;
    clearTimeout(this.#retryTimer);
    this.#drop("the network is gone");
    this.#tell({ phase: "offline", retryAt: null, reason: "the network is gone" });
  };

  /** A half-open connection is silent for ever. After a heartbeat's time without a frame we ask; no answer: lost. */
  #watch(heartbeatMs) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#send({ type: "ping" });
      this.#watchdog = setTimeout(() => {
        this.#drop("no sign of life");
        this.#retry("no sign of life");
      }, heartbeatMs);
    }, heartbeatMs * 1.2);
  }

  #receive(text) {
    const frame = this.#parse(text);
    if (!frame) return;
    this.#watch(this.#heartbeatMs);
    this.#status = { ...this.#status, lastFrameAt: Date.now() };
    const channel = this.#channels.get(frame.channel);
    switch (frame.type) {
      case "welcome":
        this.#heartbeatMs = Number(frame.heartbeat_ms) || HEARTBEAT_MS_DEFAULT;
        this.#watch(this.#heartbeatMs);
        this.#liveSince = Date.now();
        this.#tell({ phase: "live", retryAt: null, reason: "" });
        for (const name of this.#channels.keys()) this.#ask(name);
        break;
      case "subscribed":
        if (!channel) break;
        channel.kind = frame.kind;
        channel.live = true;
        channel.failures = 0;
        // Resumed: the missed events follow, each with its own cursor; until then the old one holds.
        if (!frame.resumed) channel.cursor = frame.cursor ?? null;
        break;
      case "snapshot":
        if (!channel) break;
        channel.cursor = frame.cursor ?? channel.cursor;
        channel.handlers.snapshot?.(frame.data, channel.kind);
        break;
      case "event":
        if (!channel) break;
        channel.cursor = frame.cursor ?? channel.cursor;
        channel.handlers.event?.(frame);
        break;
      case "heartbeat":
        // Past everything that was sent on this connection, so past every live channel's last event.
        if (frame.cursor) for (const c of this.#channels.values()) if (c.live) c.cursor = frame.cursor;
        break;
      case "reset":
        if (!channel) break;
        channel.cursor = null;
        channel.live = false;
        channel.handlers.reset?.(frame.code, frame.message);
        break;
      case "error":
        if (!channel) {
          console.warn("rowcast:", frame.code, frame.message);
          break;
        }
        if (!channel.live && PASSING_ERRORS.has(frame.code)) {
          channel.timer = setTimeout(() => this.#ask(frame.channel), backoff(channel.failures++));
        }
        channel.handlers.error?.(frame.code, frame.message);
        break;
    }
    this.#options.frame?.(frame);
  }

  #parse(text) {
    try {
      if (!this.#options.numbersAsText) return JSON.parse(text);
      return JSON.parse(text, (_key, value, context) =>
        typeof value === "number" ? (context?.source ?? String(value)) : value,
      );
    } catch {
      console.warn("rowcast: a frame that is not JSON");
      return null;
    }
  }

  #ask(channel) {
    if (this.#status.phase !== "live") return;
    const cursor = this.#channels.get(channel)?.cursor;
    this.#send(cursor ? { type: "subscribe", channel, cursor } : { type: "subscribe", channel });
  }

  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** @param {Partial<Status>} change */
  #tell(change) {
    this.#status = { ...this.#status, ...change };
    this.#options.status?.(this.#status);
  }
}

/** Half of the wait is random: when a server comes back, its clients do not all come in the same moment. */
function backoff(failures) {
  const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** failures);
  return ceiling / 2 + (Math.random() * ceiling) / 2;
}
