// Hooks over the client module. A component says what it listens to; connections come and go with it.
import { useCallback, useEffect, useRef, useState } from "react";
import { connect, connectEndpoint } from "../../pages/rowcast.js";

const CONNECTING = { phase: "connecting", retryAt: null, reason: "" };

/**
 * An endpoint in its own dialect, such as `/ws/notifications/`.
 *
 * @param {string | null} url  null: not now
 * @param {{ token?: import("../../pages/rowcast.js").Token, onMessage?: (message: any) => void, probe?: () => any }} [options]
 *   `onMessage` and `token` may be new functions on each render: the newest is called, the connection stays
 */
export function useWebSocket(url, options = {}) {
  const [status, setStatus] = useState(CONNECTING);
  const [lastMessage, setLastMessage] = useState(null);
  const newest = useRef(options);
  const socket = useRef(null);
  useEffect(() => {
    newest.current = options;
  });
  const { token } = options;
  const who = typeof token === "string" ? token : "";
  const withToken = token !== undefined;

  useEffect(() => {
    if (url === null) return;
    const opened = connectEndpoint(url, {
      token: withToken ? () => value(newest.current.token) : undefined,
      message(message) {
        setLastMessage(message);
        newest.current.onMessage?.(message);
      },
      status: setStatus,
      probe: newest.current.probe && (() => newest.current.probe()),
    });
    socket.current = opened;
    return () => {
      socket.current = null;
      opened.close();
    };
  }, [url, who, withToken]);

  const send = useCallback((message) => socket.current?.send(message) ?? false, []);
  return { status, connected: status.phase === "live", lastMessage, send };
}

/** @type {{ url: string, token: any, client: ReturnType<typeof connect>, users: number, told: Set<(status: any) => void> }[]} */
const clients = [];

/**
 * What a state channel shows, or the rows of an event channel's snapshot with `reduce` applied for each event. All
 * components with the same `url` and `token` share one connection of the native dialect, and each channel may have one
 * listener there. A token that is a function must be the same one on each render: another is somebody else's.
 *
 * @param {string} channel
 * @param {{ url?: string, token?: import("../../pages/rowcast.js").Token, reduce?: (data: any, event: any) => any }} [options]
 */
export function useRowcast(channel, { url = "/ws", token, reduce = (_, event) => event.data } = {}) {
  const [status, setStatus] = useState(CONNECTING);
  const [data, setData] = useState(undefined);
  const reducer = useRef(reduce);
  useEffect(() => {
    reducer.current = reduce;
  });

  useEffect(() => {
    let shared = clients.find((c) => c.url === url && c.token === token);
    if (!shared) {
      const told = new Set();
      const client = connect({ url, token, status: (now) => told.forEach((tell) => tell(now)) });
      shared = { url, token, client, users: 0, told };
      clients.push(shared);
    }
    const { client, told } = shared;
    shared.users += 1;
    told.add(setStatus);
    setStatus(client.status);
    const leave = client.subscribe(channel, {
      snapshot: setData,
      event: (event) => setData((now) => reducer.current(now, event)),
    });
    return () => {
      leave();
      // What one user saw is not the next one's.
      setData(undefined);
      told.delete(setStatus);
      shared.users -= 1;
      if (shared.users > 0) return;
      clients.splice(clients.indexOf(shared), 1);
      client.close();
    };
  }, [channel, url, token]);

  return { status, connected: status.phase === "live", data };
}

function value(token) {
  return typeof token === "function" ? token() : token;
}
