import { useState } from "react";
import { useWebSocket } from "./useWebSocket.js";

/** One's own notifications. The list of those from before comes by REST: `GET /api/notifications/`. */
export function NotificationCenter({ server, token }) {
  const [unread, setUnread] = useState(0);
  const [notifications, setNotifications] = useState([]);
  const { status, connected, send } = useWebSocket(`${server}/ws/notifications/`, {
    token,
    onMessage({ type, unread_count, notification }) {
      // Again after each reconnect: what was missed meanwhile is counted here.
      if (type === "connection_established") setUnread(unread_count);
      if (type !== "notification") return;
      setUnread((n) => n + 1);
      setNotifications((all) => [notification, ...all.filter((n) => n.id !== notification.id)]);
    },
  });

  function markRead(id) {
    if (!send({ type: "mark_read", notification_id: id })) return;
    setUnread((n) => Math.max(0, n - 1));
    setNotifications((all) => all.map((n) => (n.id === id ? { ...n, is_read: true } : n)));
  }

  return (
    <section id="notifications" data-phase={status.phase}>
      <h2>
        Notifications <span className="unread">{unread}</span>
      </h2>
      <ul>
        {notifications.map((n) => (
          <li key={n.id} data-read={Boolean(n.is_read)}>
            <strong>{n.title}</strong> {n.message}{" "}
            {!n.is_read && (
              <button type="button" disabled={!connected} onClick={() => markRead(n.id)}>
                Mark read
              </button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}
