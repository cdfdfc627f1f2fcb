// Who looks: the demo's accounts, their tokens, and the REST interface in their name.

/** @typedef {keyof typeof ACCOUNTS} Account */

/** As the demo's own data has them. */
export const ACCOUNTS = {
  alice: { id: 1, name: "Alice", does: "student", teaches: false, learns: true, oversees: false },
  bob: { id: 2, name: "Bob", does: "student", teaches: false, learns: true, oversees: false },
  mia: { id: 3, name: "Mia", does: "mentor", teaches: true, learns: false, oversees: true },
  max: { id: 4, name: "Max", does: "booster", teaches: false, learns: false, oversees: false },
  carl: { id: 5, name: "Carl", does: "customer", teaches: false, learns: false, oversees: false },
  ada: { id: 6, name: "Ada", does: "admin", teaches: false, learns: false, oversees: true },
};
/** A token is asked for anew this long before its end. */
const LEAD_MS = 30_000;
/** @type {Map<Account, { token: string, until: number }>} */
const tokens = new Map();

/**
 * Fills `#who` with accounts; the address's `?as=` says which. A change asks the form to be sent.
 *
 * @param {Account[]} names       the first is the default
 * @param {string} [nobody]  what it is called to be nobody in particular; then that is the default
 * @returns {Account | null}
 */
export function choose(names, nobody) {
  const select = /** @type {HTMLSelectElement} */ (document.getElementById("who"));
  const asked = names.find((n) => n === new URLSearchParams(location.search).get("as"));
  const who = asked ?? (nobody === undefined ? names[0] : null);
  if (nobody !== undefined) select.add(new Option(nobody, "", !who, !who));
  for (const name of names) {
    const { name: label, does } = ACCOUNTS[name];
    select.add(new Option(`${label}, ${does}`, name, name === who, name === who));
  }
  select.addEventListener("change", () => select.form?.requestSubmit());
  return who;
}

/**
 * Such as a client module takes; undefined for nobody.
 *
 * @param {Account | null} who
 */
export function tokenOf(who) {
  if (!who) return undefined;
  return async () => {
    const known = tokens.get(who);
    if (known && known.until - LEAD_MS > Date.now()) return known.token;
    const answer = await fetch(`/demo/token?user=${who}`);
    if (!answer.ok) throw new Error(await problem(answer));
    const { token, expires_in_s } = await answer.json();
    tokens.set(who, { token, until: Date.now() + expires_in_s * 1000 });
    return token;
  };
}

/**
 * A request to `/api` in somebody's name. Throws what the server's problem says.
 *
 * @param {Account | null} who
 * @param {string} path
 * @param {{ method?: string, body?: any }} [request]
 */
export async function api(who, path, { method = "GET", body } = {}) {
  /** @type {Record<string, string>} */ const headers = {};
  const token = await tokenOf(who)?.();
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(`/api${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) throw new Error(await problem(answer));
  return answer.status === 204 ? null : answer.json();
}

/** @param {Response} answer */
async function problem(answer) {
  const body = await answer.json().catch(() => null);
  return body?.detail ?? `the server said ${answer.status}`;
}
