// The one connection to the service. It tells what is known: "connecting", "live" or "reconnecting".

const firstDelay = 1_000;
const longestDelay = 15_000;

export function openStream({ onThumbnail, onQueue, onReset, onConnection }) {
  let cursor = "earliest";
  let refusals = 0;

  function connect() {
    const source = new EventSource(`/api/notifications?after=${encodeURIComponent(cursor)}&queue=true`);
    const on = (name, handle) =>
      source.addEventListener(name, (event) => {
        cursor = event.lastEventId || cursor;
        handle(JSON.parse(event.data), cursor);
      });

    on("thumbnail", onThumbnail);
    on("queue", onQueue);
    // The log does not reach back to the cursor, or is another one: what it holds now is read from its beginning.
    on("reset", () => {
      onReset();
      source.close();
      cursor = "earliest";
      connect();
    });
    source.onopen = () => {
      refusals = 0;
      onConnection("live");
    };
    source.onerror = () => {
      onConnection("reconnecting");
      // The browser resumes a broken stream by itself, but gives up for good on any answer other than 200.
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(connect, Math.min(longestDelay, firstDelay * 2 ** refusals++));
      }
    };
  }

  connect();
}
