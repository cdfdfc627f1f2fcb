// The learning platform's page, in the words of its five sockets: dashboard, notifications, leaderboard, mentor and
// student. What was there before the page is read by REST; what is done goes by REST, and comes back live.
import { connectEndpoint } from "./rowcast.js";
import { $, Monitor, ago, flash, offerToTry, part } from "./shell.js";
import { ACCOUNTS, api, choose, tokenOf } from "./who.js";

const FEED_MAX = 12;

const who = /** @type {import("./who.js").Account} */ (choose(["alice", "bob", "mia", "ada"]));
const me = ACCOUNTS[who];
const monitor = new Monitor();
/** @type {Map<number, { item: HTMLElement, read: HTMLButtonElement | null }>} */
const notifications = new Map();
/** @type {Map<number, HTMLElement>} */
const ranks = new Map();
let unread = 0;
$("role").textContent = me.learns ? "hands in" : me.teaches ? "grades, and sees the dashboard" : "sees everything";

/**
 * @param {string} name
 * @param {string} path
 * @param {(frame: any) => void} message
 * @param {() => any} [probe]
 */
function listen(name, path, message, probe) {
  const socket = connectEndpoint(path, {
    token: tokenOf(who),
    message(frame) {
      message(frame);
      monitor.show();
    },
    status: () => queueMicrotask(() => (monitor.show(), explain())),
    probe,
  });
  monitor.watch(name, socket);
  return socket;
}

if (me.oversees) {
  $("dashboard").hidden = false;
  listen(
    "dashboard",
    "/ws/dashboard/",
    ({ type, submission: s, grade: g, data }) => {
      if (type === "submission_created") tell("dashboard", `${s.student_name} handed in “${s.assignment_title}”`);
      if (type === "grade_updated") tell("dashboard", `“${g.assignment}” was graded: ${g.score}`, `by ${g.graded_by}`);
      if (type === "dashboard_update") tell("dashboard", JSON.stringify(data));
      if (type === "submission_created" || type === "grade_updated") readWork();
    },
    () => ({ type: "ping", timestamp: Date.now() }),
  );
}
if (me.learns) {
  $("own").hidden = false;
  $("own-title").textContent = "Graded and achieved";
  listen("student", `/ws/student/${me.id}/`, ({ type, grade: g, feedback: f, achievement: a }) => {
    if (type === "grade_received") tell("own", `“${g.assignment}”: ${g.score}`, g.feedback ?? "");
    if (type === "feedback_received") tell("own", `“${f.assignment}”`, f.feedback ?? "");
    if (type === "achievement_unlocked") tell("own", `Achievement: ${a.title}, ${a.points} points`, a.description);
    if (type !== "achievement_unlocked") readWork();
  });
}
if (me.teaches) {
  $("own").hidden = false;
  $("own-title").textContent = "From your students";
  listen("mentor", `/ws/mentor/${me.id}/`, ({ type, submission: s, request: r }) => {
    if (type === "student_submission") tell("own", `${s.student_name} handed in “${s.assignment_title}”`);
    if (type === "review_request") tell("own", `A review is asked for: ${r.assignment_title ?? JSON.stringify(r)}`);
  });
}

const inbox = listen("notifications", "/ws/notifications/", ({ type, unread_count, notification }) => {
  if (type === "connection_established") {
    unread = unread_count;
    readNotifications();
  }
  if (type === "notification" && !notifications.has(notification.id)) {
    unread += 1;
    flash(addNotification(notification, true), "focus");
  }
  showUnread();
});

listen("leaderboard", "/ws/leaderboard/", ({ type, leaderboard }) => {
  if (type === "leaderboard_update") showRanks(leaderboard);
});

/** A refusal is no outage. */
function explain() {
  const refused = monitor.closed();
  $("notice").hidden = refused.length === 0;
  $("notice").textContent = refused.map(({ name, reason }) => `${name}: ${reason}.`).join(" ");
}

/**
 * @param {"dashboard" | "own"} feed
 * @param {string} text
 * @param {string} [more]
 */
function tell(feed, text, more = "") {
  const list = /** @type {HTMLElement} */ ($(feed).querySelector(".feed"));
  const item = document.createElement("li");
  part(item, "", text);
  if (more) part(item, "quiet", more);
  clock(item, Date.now());
  list.prepend(item);
  while (list.childElementCount > FEED_MAX) list.lastElementChild?.remove();
  /** @type {HTMLElement} */ ($(feed).querySelector(".empty")).hidden = true;
  flash(item, "focus");
}

/** How old it is, kept true.
 * @param {Element} item
 * @param {number} at
 */
function clock(item, at) {
  const time = part(item, "age quiet", ago(at), "time");
  time.setAttribute("datetime", new Date(at).toISOString());
}

async function readNotifications() {
  try {
    const { notifications: all } = await api(who, `/notifications?limit=${FEED_MAX}`);
    for (const n of all.reverse()) if (!notifications.has(n.id)) addNotification(n, !n.is_read);
  } catch (error) {
    $("work-said").textContent = words(error);
  }
  showUnread();
}

/**
 * @param {{ id: number, title: string, message: string, created_at: string }} n
 * @param {boolean} fresh
 */
function addNotification(n, fresh) {
  const list = /** @type {HTMLElement} */ ($("notifications").querySelector(".feed"));
  const item = document.createElement("li");
  item.id = `notification-${n.id}`;
  item.toggleAttribute("data-unread", fresh);
  part(item, "", n.title, "strong");
  part(item, "", n.message);
  clock(item, Date.parse(n.created_at));
  /** @type {HTMLButtonElement | null} */ let read = null;
  if (fresh) {
    read = /** @type {HTMLButtonElement} */ (part(item, "", "Mark read", "button"));
    read.ariaLabel = `Mark read: ${n.title}`;
    read.addEventListener("click", () => markRead(n.id));
  }
  // The newest first, wherever it comes from.
  const older = [...notifications.keys()].filter((id) => id < n.id).sort((a, b) => b - a)[0];
  list.insertBefore(item, older === undefined ? null : (notifications.get(older)?.item ?? null));
  notifications.set(n.id, { item, read });
  while (list.childElementCount > FEED_MAX) {
    const oldest = Math.min(...notifications.keys());
    notifications.get(oldest)?.item.remove();
    notifications.delete(oldest);
  }
  return item;
}

/** The socket gives no answer to this: what it did shows in the count of the next connection.
 * @param {number} id
 */
function markRead(id) {
  const known = notifications.get(id);
  if (!known?.read || !inbox.send({ type: "mark_read", notification_id: id })) return;
  const held = document.activeElement === known.read;
  known.read.remove();
  known.read = null;
  known.item.removeAttribute("data-unread");
  unread = Math.max(0, unread - 1);
  showUnread();
  // The keyboard goes on with the next one.
  const next = /** @type {HTMLElement | null} */ ($("notifications").querySelector("button"));
  if (held) (next ?? $("who")).focus();
}

function showUnread() {
  $("unread").textContent = unread ? `${unread} unread` : "";
  /** @type {HTMLElement} */ ($("notifications").querySelector(".empty")).hidden = notifications.size > 0;
}

/** @param {{ rank: number, user_id: number, name: string, points: number }[]} all */
function showRanks(all) {
  const list = /** @type {HTMLElement} */ ($("leaderboard").querySelector(".ranks"));
  for (const [id, item] of ranks) {
    if (all.some((r) => r.user_id === id)) continue;
    item.remove();
    ranks.delete(id);
  }
  for (const r of all) {
    let item = ranks.get(r.user_id);
    const before = item?.querySelector(".points")?.textContent;
    item ??= document.createElement("li");
    item.replaceChildren();
    item.toggleAttribute("data-me", r.user_id === me.id);
    part(item, "rank", `${r.rank}.`);
    part(item, "", r.name);
    part(item, "points", `${r.points} points`);
    ranks.set(r.user_id, item);
    list.append(item);
    if (before !== undefined && before !== `${r.points} points`) flash(item, "focus");
  }
}

// What is done here: students hand in, mentors and admins grade.

$("work").hidden = false;
$("work-title").textContent = me.learns ? "Your submissions" : "To be graded";
$("hand-in").hidden = !me.learns;

async function readWork() {
  try {
    const { submissions } = await api(who, `/submissions?limit=6${me.learns ? "" : "&graded=false"}`);
    showWork(submissions);
  } catch (error) {
    $("work-said").textContent = words(error);
  }
}

/** @param {{ id: number, student_name: string, assignment_title: string, score: number | null, submitted_at: string }[]} all */
function showWork(all) {
  // Whoever is writing a grade goes on writing it.
  const held = document.activeElement?.closest("#submissions li");
  const items = all.map((s) => {
    const name = `submission-${s.id}`;
    const known = document.getElementById(name);
    if (known && known === held) return known;
    const item = document.createElement("li");
    item.id = name;
    part(item, "", me.learns ? s.assignment_title : `${s.student_name}: ${s.assignment_title}`);
    if (me.learns) part(item, "pill", s.score === null ? "waits" : String(s.score));
    else item.append(gradeForm(s.id, s.assignment_title));
    clock(item, Date.parse(s.submitted_at));
    return item;
  });
  $("submissions").replaceChildren(...items);
  if (held && !items.includes(/** @type {HTMLLIElement} */ (held))) $("who").focus();
  $("no-submissions").hidden = items.length > 0;
}

/**
 * @param {number} id
 * @param {string} title
 */
function gradeForm(id, title) {
  const form = document.createElement("form");
  form.className = "grade";
  const score = document.createElement("input");
  Object.assign(score, { type: "number", min: "0", max: "100", step: "0.5", required: true, ariaLabel: `Score for ${title}` });
  const button = /** @type {HTMLButtonElement} */ (document.createElement("button"));
  button.textContent = "Grade";
  form.append(score, button);
  form.addEventListener("submit", (e) => {
    e.preventDefault();
    act("Graded.", `/submissions/${id}/grade`, { score: score.value });
  });
  return form;
}

/**
 * @param {string} done
 * @param {string} path
 * @param {any} body
 */
async function act(done, path, body) {
  $("work-said").textContent = "";
  try {
    await api(who, path, { method: "POST", body });
    $("work-said").textContent = done;
  } catch (error) {
    $("work-said").textContent = words(error);
  }
  readWork();
}

$("hand-in").addEventListener("submit", (e) => {
  e.preventDefault();
  act("Handed in: your mentor sees it already.", "/submissions", {
    assignment_title: /** @type {HTMLInputElement} */ ($("assignment")).value,
  });
});

/** @param {unknown} error */
function words(error) {
  return error instanceof Error ? error.message : String(error);
}

setInterval(() => {
  for (const time of document.querySelectorAll("time.age")) {
    time.textContent = ago(Date.parse(time.getAttribute("datetime") ?? ""));
  }
}, 1000);
readWork();
offerToTry("learning");
