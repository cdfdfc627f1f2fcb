// A table that follows the channel `rates`: the snapshot replaces what is shown, each event changes one row.
import { connect } from "../../pages/rowcast.js";

const server = new URLSearchParams(location.search).get("server") ?? "ws://127.0.0.1:8080";
const table = document.getElementById("rates");
/** @type {Map<string, HTMLTableRowElement>} */
const rows = new Map();

const rowcast = connect({
  url: `${server}/ws`,
  numbersAsText: true, // the digits that Postgres wrote, not floats
  status: ({ phase }) => (document.getElementById("phase").textContent = phase),
});

rowcast.subscribe("rates", {
  snapshot(all) {
    table.replaceChildren();
    rows.clear();
    all.forEach(show);
  },
  event({ event, data }) {
    if (event === "delete") remove(data);
    else show(data);
  },
});

function show({ source_currency, destination_currency, rate }) {
  const key = `${source_currency}_${destination_currency}`;
  let row = rows.get(key);
  if (!row) {
    row = table.insertRow();
    row.id = key;
    row.insertCell().textContent = `${source_currency} → ${destination_currency}`;
    row.insertCell();
    rows.set(key, row);
  }
  row.cells[1].textContent = rate;
}

function remove({ source_currency, destination_currency }) {
  const key = `${source_currency}_${destination_currency}`;
  rows.get(key)?.remove();
  rows.delete(key);
}
