import { useState } from "react";
import { useWebSocket } from "./useWebSocket.js";

const SHOWN_MAX = 20;

/** For mentors and admins: what is handed in and graded, the newest first. */
export function DashboardRealtime({ server, token }) {
  const [feed, setFeed] = useState([]);
  const { status } = useWebSocket(`${server}/ws/dashboard/`, {
    token,
    onMessage(message) {
      const entry = told(message);
      if (entry) setFeed((feed) => [entry, ...feed].slice(0, SHOWN_MAX));
    },
    probe: () => ({ type: "ping", timestamp: Date.now() }),
  });
  return (
    <section id="dashboard" data-phase={status.phase}>
      <h2>Dashboard</h2>
      {status.phase !== "live" && <p role="status">{status.reason || status.phase}</p>}
      <ol>
        {feed.map(({ key, text }) => (
          <li key={key}>{text}</li>
        ))}
      </ol>
    </section>
  );
}

let count = 0;

function told({ type, submission, grade }) {
  const key = ++count;
  switch (type) {
    case "submission_created":
      return { key, text: `${submission.student_name} handed in ${submission.assignment_title}` };
    case "grade_updated":
      return { key, text: `${grade.assignment} was graded: ${grade.score}` };
    default:
      return null;
  }
}
