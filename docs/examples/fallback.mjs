import { Centrifuge } from "centrifuge";

const host = process.argv[2] ?? "localhost:8000";
const client = new Centrifuge(
  [
    { transport: "websocket", endpoint: `ws://${host}/connection/websocket` },
    { transport: "http_stream", endpoint: `http://${host}/connection/http_stream` },
    { transport: "sse", endpoint: `http://${host}/connection/sse` },
  ],
  { emulationEndpoint: `http://${host}/emulation` },
);
client.on("connected", (ctx) => console.log(`connected by ${ctx.transport}`));
client
  .newSubscription("news")
  .on("subscribed", () => console.log("subscribed"))
  .on("publication", (ctx) => console.log(ctx.data))
  .subscribe();
client.connect();
