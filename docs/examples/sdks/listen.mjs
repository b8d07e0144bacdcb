// Print what is published into the channel "news".
import { Centrifuge } from "centrifuge";
import WebSocket from "ws"; // browsers, and Node.js from version 22 on, have their own

const address = process.argv[2] ?? "ws://localhost:8000/connection/websocket";
const client = new Centrifuge(address, { websocket: WebSocket });
client
  .newSubscription("news")
  .on("subscribed", () => console.log("listening"))
  .on("publication", (context) => console.log(JSON.stringify(context.data)))
  .subscribe();
client.connect();
