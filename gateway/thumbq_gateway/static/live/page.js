// The live page. One stream feeds the models and the counters; the grid shows them.

import { announce } from "./announcer.js";
import { showCounters } from "./counters.js";
import { Grid } from "./grid.js";
import { Models } from "./models.js";
import { noteTime } from "../shared/clock.js";
import { subscribe } from "../thumbq/index.js";

const capacity = 300; // cards
const longestPause = 10_000; // milliseconds between two attempts to connect
const connections = {
  connecting: "Connecting",
  live: "Live",
  away: "Server away",
  reconnecting: "Reconnecting",
};

const models = new Models(capacity);
const grid = new Grid(models);
const empty = document.getElementById("empty");
const connection = document.getElementById("connection");

document.getElementById("command").textContent = `curl ${location.origin}/api/thumbnail-jobs \\
  -H "Content-Type: application/json" \\
  -d '{"modelId": 1, "modelHash": "${"0123456789abcdef".repeat(4)}"}'`;

function changed() {
  empty.hidden = models.size > 0;
  grid.refresh();
}

/** Learn the gateway's time: the clock of this browser may be wrong. */
async function askTime() {
  const answer = await fetch("/healthz", { cache: "no-store" }).catch(() => undefined);
  if (answer) noteTime(answer);
}

const subscription = subscribe({
  after: "earliest",
  longestPause,
  onThumbnail(notification, cursor) {
    models.notify(notification, cursor);
    announce(notification.status);
    changed();
  },
  onQueue(snapshot) {
    models.observe(snapshot);
    showCounters(snapshot);
    changed();
  },
  // Events are missing, or the log is another one: start again with everything that the log holds.
  onReset() {
    models.clear();
    grid.clear();
    changed();
    return "earliest";
  },
  onConnection(state) {
    document.documentElement.dataset.connection = state;
    connection.textContent = connections[state];
    if (state === "live") void askTime();
    grid.setLive(state === "live");
  },
});

// Refused for good: the console asks for the key that the gateway wants.
subscription.closed.catch((error) => {
  document.documentElement.dataset.connection = "away";
  grid.setLive(false);
  if (error.httpStatus !== 401) {
    connection.textContent = error.message;
    return;
  }
  const signIn = document.createElement("a");
  signIn.href = "console";
  signIn.textContent = "Sign in";
  connection.replaceChildren(signIn);
});
