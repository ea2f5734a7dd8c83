// The live page: one stream feeds the models and the counters, the grid shows them.

import { announce } from "./announcer.js";
import { showCounters } from "./counters.js";
import { Grid } from "./grid.js";
import { Models } from "./models.js";
import { openStream } from "./stream.js";

const capacity = 300; // cards
const connections = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting" };

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

openStream({
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
  onReset() {
    models.clear();
    grid.clear();
    changed();
  },
  onConnection(state) {
    document.documentElement.dataset.connection = state;
    connection.textContent = connections[state];
    grid.setLive(state === "live");
  },
});
