import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { DashboardRealtime } from "./DashboardRealtime.jsx";
import { Leaderboard } from "./Leaderboard.jsx";
import { NotificationCenter } from "./NotificationCenter.jsx";
import { useRowcast } from "./useWebSocket.js";

// Of an application of one's own: the address of its server, and its access token or a function that fetches one.
const asked = new URLSearchParams(location.search);
const server = asked.get("server") ?? "ws://127.0.0.1:8080";
const token = asked.get("token") ?? undefined;

/** The same order as `/ws/orders/2/`, by the native dialect. */
function Order({ id }) {
  const { data, connected } = useRowcast(`order:${id}`, { url: `${server}/ws`, token });
  return <p id="order">{connected && data ? `Order ${data.order_id}: ${data.status}, ${data.progress} %` : "…"}</p>;
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Order id={2} />
    <NotificationCenter server={server} token={token} />
    <Leaderboard server={server} token={token} />
    <DashboardRealtime server={server} token={token} />
  </StrictMode>,
);
