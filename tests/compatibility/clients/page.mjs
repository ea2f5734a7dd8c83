// A page's client on /thumbnailHub over one transport. Writes what it hears, one JSON object a line.
// Arguments: the base URL, the transport, and the groups to join, as "AllModels" or "Model:42".
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const [baseUrl, transport, ...groups] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const connection = new HubConnectionBuilder()
  .withUrl(`${baseUrl}/thumbnailHub`, { transport: HttpTransportType[transport] })
  .withAutomaticReconnect([1000, 2000, 4000, 8000, 16000])
  .configureLogging(LogLevel.Error)
  .build();
connection.serverTimeoutInMilliseconds = 30_000;

const join = () =>
  Promise.all(
    groups.map((group) => {
      const [name, ...names] = group.split(":");
      return connection.invoke(`Join${name}Group`, ...names);
    }),
  );

connection.on("ThumbnailStatusChanged", (changed) => {
  say({ changed });
});
connection.onreconnecting(() => say({ state: "reconnecting" }));
connection.onreconnected(async () => {
  await join();
  say({ state: "joined again" });
});
connection.onclose((error) => say({ state: "closed", error: error?.message ?? null }));

process.stdin.on("data", async () => {
  await connection.stop();
  process.exit();
});

await connection.start();
await join();
const unknown = await connection.invoke("NoSuchMethod").catch((error) => error.message);
say({ state: "joined", unknown });
