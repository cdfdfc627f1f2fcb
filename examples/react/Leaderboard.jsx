import { useWebSocket } from "./useWebSocket.js";

/** Each message is the whole board. */
export function Leaderboard({ server, token }) {
  const { status, lastMessage } = useWebSocket(`${server}/ws/leaderboard/`, { token });
  return (
    <section id="leaderboard" data-phase={status.phase}>
      <h2>Leaderboard</h2>
      <table>
        <tbody>
          {lastMessage?.leaderboard?.map(({ rank, user_id, name, points }) => (
            <tr key={user_id} data-user={user_id}>
              <td>{rank}</td>
              <td>{name}</td>
              <td>{points}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
