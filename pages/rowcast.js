// Clients of rowcast in one module without dependencies, for browsers and for Node 22 or later.
//
// `connect` speaks the native dialect (docs/PROTOCOL.md): it reconnects with jittered backoff and resumes each channel
// by its cursor, so that a page sees every event once and in order, or is told to start over.
//
//   import { connect } from "./rowcast.js";
//   const rowcast = connect({ token: () => fetch("/token").then((r) => r.text()) });
//   rowcast.subscribe("orders:1", { snapshot: show, event: (e) => add(e.event, e.data) });
//
// `connectEndpoint` is a JSON socket that comes back by itself, for endpoints that speak another application's language
// (/ws/orders/1/): they have no cursor, and show the current content anew on each connection.
//
//   const orders = connectEndpoint("/ws/orders/1/", { message: show, status: (s) => (badge.textContent = s.phase) });

/**
 * @typedef {"connecting" | "live" | "waiting" | "offline" | "closed"} Phase
 *   `waiting`: the next try is at `retryAt`. `offline`: the browser says that there is no network. `closed`: for good.
 *
 * @typedef {object} Status
 * @property {Phase} phase
 * @property {number | null} retryAt        milliseconds since 1970, while waiting
 * @property {string} reason                why the last connection ended; empty at first
 * @property {number | null} code           its close code; null where none came
 * @property {string} url                   where to, without the query: it may hold a token
 * @property {number} messages              frames that came, over all connections
 * @property {number} errors                connections lost or refused, frames that say so or are not JSON
 * @property {string} lastMessage           the text of the last frame; empty at first
 * @property {number | null} lastMessageAt  when it came; a heartbeat counts
 *
 * @typedef {string | (() => string | Promise<string>)} Token
 *   A function is asked before each connection, and again when the token is about to expire.
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
 * @property {Token} [token]            sent in the first frame, never in the address
 * @property {boolean} [numbersAsText]  numbers within `data` come as the text that Postgres wrote: JavaScript's own
 *   are floats and cannot hold every numeric or bigint. In browsers without JSON.parse source text access (before
 *   Chrome 114, Firefox 135, Safari 18.4) the text is that of the float.
 * @property {(status: Status) => void} [status]  the phase changed
 * @property {(frame: any) => void} [frame]  every frame, as parsed
 *
 * @typedef {object} EndpointOptions
 * @property {Token} [token]                      goes as `?token=`, as these applications' clients do
 * @property {(message: any) => void} [message]   each frame, as parsed
 * @property {(status: Status) => void} [status]  the phase changed
 * @property {() => any} [probe]                  a frame that is always answered, asked when nothing came for long: without
 *   it a connection that died in silence is noticed only when the browser does
 * @property {number} [quietMs]                   how long is long; default 25,000
 */

const BACKOFF_MS_MIN = 500;
const BACKOFF_MS_MAX = 20_000;
const HEARTBEAT_MS_DEFAULT = 15_000;
const QUIET_MS_DEFAULT = 25_000;
/** A connection that was live this long was a good one: the backoff starts from the beginning. */
const SETTLED_MS = 10_000;
/** Close codes that say: the same again will not help, and: come back later than usual (docs/PROTOCOL.md). */
const FINAL_CODES = new Set([1000, 1002, 1003, 1007, 1008, 1009, 4400, 4403, 4404]);
const UNAUTHENTICATED = 4401;
const LATER_CODES = new Set([1013, 4429]);
/** A server whose tokens always are about to expire is not asked all the time. */
const REFRESH_PAUSE_MS = 5000;
/** The `id` of our `auth` commands. */
const AUTH = "auth";
/** Of our `unsubscribe` commands: nobody waits for their answers. */
const UNSUBSCRIBE = "unsubscribe";
const BAD_CURSOR = "bad_cursor";
/** Errors of a subscribe that pass (docs/ERRORS.md). */
const PASSING_ERRORS = new Set(["not_ready", "overloaded", "database_unavailable", "view_timeout"]);

/** @param {Options} [options] */
export function connect(options = {}) {
  return new Client(options);
}

/**
 * @param {string} url  absolute, or a path of the page's own host
 * @param {EndpointOptions} [options]
 */
export function connectEndpoint(url, options = {}) {
  return new Endpoint(url, options);
}

class Endpoint {
  /** @type {Line} */ #line;

  /**
   * @param {string} url
   * @param {EndpointOptions} options
   */
  constructor(url, { token, message, status, probe, quietMs = QUIET_MS_DEFAULT }) {
    const watch = () => this.#line.watch(quietMs, probe && (() => this.send(probe())));
    this.#line = new Line({
      address: (secret) => {
        const to = absolute(url);
        if (secret !== undefined) to.searchParams.set("token", secret);
        return to;
      },
      token,
      status,
      opened: () => {
        this.#line.live();
        watch();
      },
      heard: (text) => {
        watch();
        const frame = parsed(text);
        if (frame === undefined || frame?.type === "error") this.#line.erred();
        if (frame !== undefined) message?.(frame);
      },
    });
    this.#line.open();
  }

  get status() {
    return this.#line.status;
  }

  /**
   * @param {any} frame
   * @returns {boolean} false: not connected, and not sent
   */
  send(frame) {
    return this.#line.send(frame);
  }

  /** Tries now instead of later. */
  retry() {
    this.#line.retryNow();
  }

  close() {
    this.#line.close();
  }
}

class Client {
  /** @type {Options} */ #options;
  /** @type {Line} */ #line;
  /**
   * `asked`: the `id` of the subscribe that is not answered yet. Until it is, what comes of the channel is of a subscription before.
   *
   * @type {Map<string, { handlers: Handlers, cursor: string | null, kind: "event" | "state", live: boolean, asked: string | null, failures: number, timer: Timer }>}
   */
  #channels = new Map();
  #asks = 0;
  #heartbeatMs = HEARTBEAT_MS_DEFAULT;
  #authAt = 0;
  /** @type {Timer} */ #refreshTimer;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#line = new Line({
      address: () => absolute(options.url ?? "/ws"),
      token: options.token,
      status: options.status,
      // Commands are worked on one after another: what is subscribed to next is so in this name.
      opened: (secret) => secret !== undefined && this.#authenticate(secret),
      heard: (text) => this.#receive(text),
      lost: () => {
        clearTimeout(this.#refreshTimer);
        for (const c of this.#channels.values()) {
          c.live = false;
          c.asked = null;
          clearTimeout(c.timer);
        }
      },
    });
    this.#line.open();
  }

  get status() {
    return this.#line.status;
  }

  /**
   * @param {string} channel
   * @param {Handlers} handlers
   * @returns {() => void} unsubscribes
   */
  subscribe(channel, handlers) {
    if (this.#channels.has(channel)) throw new Error(`already subscribed to ${channel}`);
    this.#channels.set(channel, { handlers, cursor: null, kind: "event", live: false, asked: null, failures: 0, timer: undefined });
    this.#ask(channel);
    return () => {
      clearTimeout(this.#channels.get(channel)?.timer);
      if (this.#channels.delete(channel)) this.#line.send({ type: "unsubscribe", channel, id: UNSUBSCRIBE });
    };
  }

  /** Tries now instead of later. */
  retry() {
    this.#line.retryNow();
  }

  close() {
    this.#line.close();
  }

  #watch() {
    this.#line.watch(this.#heartbeatMs, () => this.#line.send({ type: "ping" }));
  }

  /** @param {string} text */
  #receive(text) {
    const frame = parsed(text, this.#options.numbersAsText);
    this.#watch();
    if (frame === undefined) return this.#line.erred();
    const channel = this.#channels.get(frame.channel);
    switch (frame.type) {
      case "welcome":
        this.#heartbeatMs = Number(frame.heartbeat_ms) || HEARTBEAT_MS_DEFAULT;
        this.#watch();
        this.#line.live();
        for (const name of this.#channels.keys()) this.#ask(name);
        break;
      case "subscribed":
        if (!channel || (frame.id ?? null) !== channel.asked) break;
        channel.kind = frame.kind;
        channel.live = true;
        channel.asked = null;
        channel.failures = 0;
        // Resumed: the missed events follow, each with its own cursor; until then the old one holds.
        if (!frame.resumed) channel.cursor = frame.cursor ?? null;
        break;
      case "snapshot":
        if (!channel?.live) break;
        channel.cursor = frame.cursor ?? channel.cursor;
        channel.handlers.snapshot?.(frame.data, channel.kind);
        break;
      case "event":
        if (!channel?.live) break;
        channel.cursor = frame.cursor ?? channel.cursor;
        channel.handlers.event?.(frame);
        break;
      case "heartbeat":
        // Past everything that was sent on this connection, so past every live channel's last event.
        if (frame.cursor) for (const c of this.#channels.values()) if (c.live) c.cursor = frame.cursor;
        break;
      case "reset":
        // Who asked without a cursor has nothing to discard.
        if (!channel || (channel.asked !== null && channel.cursor === null)) break;
        channel.cursor = null;
        channel.live = false;
        channel.handlers.reset?.(frame.code, frame.message);
        break;
      case "unsubscribed":
        // Not by us: the right to listen was lost.
        if (!channel || !frame.code) break;
        channel.cursor = null;
        channel.live = false;
        channel.handlers.error?.(frame.code, frame.message);
        break;
      case "token_expiring":
        clearTimeout(this.#refreshTimer);
        this.#refreshTimer = setTimeout(() => this.#refresh(), Math.max(0, this.#authAt + REFRESH_PAUSE_MS - Date.now()));
        break;
      case "error":
        if (frame.id === AUTH) return this.#line.refused(frame.message, PASSING_ERRORS.has(frame.code));
        this.#line.erred();
        if (!channel) {
          console.warn("rowcast:", frame.code, frame.message);
          break;
        }
        if (frame.id !== undefined && frame.id !== channel.asked) break;
        channel.asked = null;
        if (frame.code === BAD_CURSOR && channel.cursor !== null) {
          // Of a server before an update, perhaps: better from the beginning than never.
          channel.cursor = null;
          channel.handlers.reset?.(frame.code, frame.message);
          this.#ask(frame.channel);
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

  /** @param {string} token */
  #authenticate(token) {
    this.#authAt = Date.now();
    this.#line.send({ type: "auth", token, id: AUTH });
  }

  /** In place: the subscriptions stay. Where it fails the server closes with 4401, and a new connection asks again. */
  async #refresh() {
    const { token } = this.#options;
    if (typeof token !== "function") return;
    try {
      this.#authenticate(await token());
    } catch (error) {
      console.warn("rowcast: no new token:", said(error));
    }
  }

  /** @param {string} channel */
  #ask(channel) {
    if (this.#line.status.phase !== "live") return;
    const wanted = this.#channels.get(channel);
    if (!wanted) return;
    // A text: where numbers come as text, a number would not come back as it went.
    const id = `${++this.#asks}`;
    wanted.asked = id;
    this.#line.send({ type: "subscribe", channel, cursor: wanted.cursor ?? undefined, id });
  }
}

/** @typedef {ReturnType<typeof setTimeout> | undefined} Timer */

/**
 * One socket after the other, never two:
 *
 *   connecting -> live -> (lost) -> waiting -> connecting …; offline until the browser says online
 */
class Line {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {Status} */ #status;
  #owner;
  #failures = 0;
  #liveSince = 0;
  /** How often in a row the server took no token: a new one may be better, a second is not. */
  #unauthenticated = 0;
  /** Counts the tries: a token that comes late belongs to none. */
  #turn = 0;
  /** @type {Timer} */ #retryTimer;
  /** @type {Timer} */ #watchdog;

  /**
   * @param {{ address: (token?: string) => URL, token?: Token, status?: (status: Status) => void,
   *   opened: (token?: string) => void, heard: (text: string) => void, lost?: () => void }} owner
   */
  constructor(owner) {
    this.#owner = owner;
    const to = owner.address();
    this.#status = {
      phase: "connecting",
      retryAt: null,
      reason: "",
      code: null,
      url: `${to.protocol}//${to.host}${to.pathname}`,
      messages: 0,
      errors: 0,
      lastMessage: "",
      lastMessageAt: null,
    };
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.addEventListener?.("offline", this.#gone);
    globalThis.addEventListener?.("pagehide", this.#leave);
    globalThis.addEventListener?.("pageshow", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
  }

  get status() {
    return this.#status;
  }

  async open() {
    clearTimeout(this.#retryTimer);
    const turn = ++this.#turn;
    this.#tell({ phase: "connecting", retryAt: null });
    this.watch(HEARTBEAT_MS_DEFAULT, () => {});
    const { token } = this.#owner;
    /** @type {string | undefined} */ let secret;
    try {
      secret = typeof token === "function" ? await token() : token;
    } catch (error) {
      if (turn === this.#turn) this.#lose(`no token: ${said(error)}`, null);
      return;
    }
    if (turn !== this.#turn) return;
    /** @type {WebSocket} */ let socket;
    try {
      socket = new WebSocket(this.#owner.address(secret));
    } catch (error) {
      // Such as ws: from a page that came by https.
      return this.#end(said(error), null);
    }
    this.#socket = socket;
    // Whatever a socket says after it was given up is not ours any more.
    socket.onopen = () => socket === this.#socket && this.#owner.opened(secret);
    socket.onmessage = (m) => socket === this.#socket && this.#hear(String(m.data));
    socket.onclose = (e) => socket === this.#socket && this.#closed(e);
  }

  /** The other side is there, and has said so. */
  live() {
    this.#liveSince = Date.now();
    this.#tell({ phase: "live", retryAt: null, reason: "", code: null });
  }

  erred() {
    this.#status = { ...this.#status, errors: this.#status.errors + 1 };
  }

  /**
   * @param {any} frame
   * @returns {boolean} was it sent?
   */
  send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  retryNow() {
    const { phase } = this.#status;
    if (phase === "live" || phase === "connecting") return;
    this.#unauthenticated = 0;
    this.open();
  }

  close() {
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.removeEventListener?.("offline", this.#gone);
    globalThis.removeEventListener?.("pagehide", this.#leave);
    globalThis.removeEventListener?.("pageshow", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.#drop("closed by the page");
    this.#tell({ phase: "closed", retryAt: null, reason: "closed by the page", code: 1000 });
  }

  /**
   * A half-open connection is silent for ever. After some time without a frame we ask; no answer: lost.
   *
   * @param {number} quietMs
   * @param {(() => void) | undefined} probe  none: nothing to ask, so silence says nothing
   */
  watch(quietMs, probe) {
    clearTimeout(this.#watchdog);
    if (!probe) return;
    this.#watchdog = setTimeout(() => {
      probe();
      this.#watchdog = setTimeout(() => this.#lose("no sign of life", null), quietMs);
    }, quietMs * 1.2);
  }

  /**
   * Our token was not taken, in words instead of by a close code.
   *
   * @param {string} reason
   * @param {boolean} passing  it may be taken later
   */
  refused(reason, passing) {
    this.#closed({ code: passing ? 1013 : UNAUTHENTICATED, reason });
  }

  /** @param {string} text */
  #hear(text) {
    const { messages } = this.#status;
    this.#status = { ...this.#status, messages: messages + 1, lastMessage: text, lastMessageAt: Date.now() };
    this.#owner.heard(text);
  }

  /** @param {{ code: number, reason: string }} e */
  #closed({ code, reason }) {
    const wasLive = this.#liveSince > 0;
    const why = reason || (code !== 1006 ? `closed with code ${code}` : wasLive ? "connection lost" : "no connection");
    if (code !== UNAUTHENTICATED || this.#settled()) this.#unauthenticated = 0;
    if (code === UNAUTHENTICATED) this.#unauthenticated += 1;
    const renewable = typeof this.#owner.token === "function" && this.#unauthenticated < 2;
    if (FINAL_CODES.has(code) || (code === UNAUTHENTICATED && !renewable)) return this.#end(why, code);
    this.#lose(why, code, LATER_CODES.has(code));
  }

  /**
   * @param {string} reason
   * @param {number | null} code
   */
  #end(reason, code) {
    this.erred();
    this.#drop(reason);
    this.#tell({ phase: "closed", retryAt: null, reason, code });
  }

  #settled() {
    return this.#liveSince > 0 && Date.now() - this.#liveSince > SETTLED_MS;
  }

  /**
   * @param {string} reason
   * @param {number | null} code
   * @param {boolean} [later]
   */
  #lose(reason, code, later = false) {
    this.erred();
    if (this.#settled()) this.#failures = 0;
    if (later) this.#failures = Math.max(this.#failures, 5);
    this.#drop(reason);
    if (globalThis.navigator?.onLine === false) {
      this.#tell({ phase: "offline", retryAt: null, reason, code });
      return;
    }
    const wait = advised(code, reason) ?? backoff(this.#failures++);
    this.#retryTimer = setTimeout(() => this.open(), wait);
    this.#tell({ phase: "waiting", retryAt: Date.now() + wait, reason, code });
  }

  /**
   * Forgets the socket: its late events find that they are not the current one.
   *
   * @param {string} reason
   */
  #drop(reason) {
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retryTimer);
    this.#turn += 1;
    this.#liveSince = 0;
    const socket = this.#socket;
    this.#socket = null;
    this.#owner.lost?.();
    // A close frame has room for 123 bytes.
    if (socket && socket.readyState <= WebSocket.OPEN) socket.close(1000, reason.slice(0, 40));
  }

  #wake = () => {
    const { phase } = this.#status;
    if (phase !== "waiting" && phase !== "offline") return;
    if (globalThis.document?.visibilityState === "hidden") return;
    this.open();
  };

  #gone = () => {
    if (this.#status.phase === "closed") return;
    this.#drop("the network is gone");
    this.#tell({ phase: "offline", retryAt: null, reason: "the network is gone", code: null });
  };

  /**
   * A page that the browser keeps for the way back stands still, its socket open: nobody would read what the server sends.
   *
   * @param {globalThis.Event} e
   */
  #leave = (e) => {
    const { phase } = this.#status;
    if (!(/** @type {PageTransitionEvent} */ (e).persisted) || phase === "closed" || phase === "offline") return;
    this.#drop("the page was left");
    this.#tell({ phase: "waiting", retryAt: null, reason: "the page was left", code: null });
  };

  /** @param {Partial<Status>} change */
  #tell(change) {
    this.#status = { ...this.#status, ...change };
    this.#owner.status?.(this.#status);
  }
}

/** @param {string} url */
function absolute(url) {
  const to = new URL(url, globalThis.location?.href);
  if (to.protocol === "http:") to.protocol = "ws:";
  if (to.protocol === "https:") to.protocol = "wss:";
  return to;
}

/**
 * @param {string} text
 * @param {boolean} [numbersAsText]
 * @returns {any} undefined where it is not JSON
 */
function parsed(text, numbersAsText) {
  try {
    if (!numbersAsText) return JSON.parse(text);
    /** @type {(key: string, value: any, context?: { source?: string }) => any} */
    const asText = (_key, value, context) => (typeof value === "number" ? (context?.source ?? String(value)) : value);
    return JSON.parse(text, asText);
  } catch {
    console.warn("rowcast: a frame that is not JSON");
    return undefined;
  }
}

/** @param {unknown} error */
function said(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Half of the wait is random: when a server comes back, its clients do not all come in the same moment.
 *
 * @param {number} failures
 */
function backoff(failures) {
  const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** failures);
  return ceiling / 2 + (Math.random() * ceiling) / 2;
}

/**
 * A server that restarts tells each client a moment of its own to come back.
 *
 * @param {number | null} code
 * @param {string} reason
 */
function advised(code, reason) {
  const wait = code === 1012 ? /connect again in (\d{1,6}) ms/.exec(reason) : null;
  return wait ? Number(wait[1]) : null;
}
