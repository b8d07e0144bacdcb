// The methods of the server API, and the fields of their requests.
// A field is [name, kind, meaning]; kinds: text, json, object, number, flag, list.
// A star marks what is required.

const channel = ["channel*", "text", "Channel"];
const target = [["user", "text", "User; empty: anonymous connections"], ["client", "text", "Only this connection"], ["session", "text", "Only this session"]];
const stored = [
  ["skip_history", "flag", "Do not keep it in history"], ["tags", "object", "Tags"],
  ["idempotency_key", "text", "Idempotency key"], ["delta", "flag", "Construct deltas"],
  ["version", "number", "Version"], ["version_epoch", "text", "Epoch of the version"],
];
const since = ["since", "object", 'Since, such as {"offset": 1, "epoch": "…"}'];

/** Groups of methods: title, and `[name, what it does, fields]` each. */
export const GROUPS = [
  ["Publish", [
    ["publish", "Publish data into one channel.", [channel, ["data*", "json", "Data"], ...stored]],
    ["broadcast", "Publish the same data into many channels.", [["channels*", "list", "Channels, one a line"], ["data*", "json", "Data"], ...stored]],
  ]],
  ["Channels", [
    ["history", "Read what was published into a channel.", [channel, ["limit", "number", "Limit; 0: only the position, -1: everything"], since, ["reverse", "flag", "Newest first"]]],
    ["history_remove", "Forget what was published into a channel.", [channel]],
    ["presence", "List the connections in a channel.", [channel]],
    ["presence_stats", "Count connections and users in a channel.", [channel]],
    ["receipts", "Tell which users have received a publication.", [channel, ["offset*", "number", "Offset"], ["epoch", "text", "Epoch"], ["users", "list", "Only these users, one a line"], ["limit", "number", "How many users to list"], ["cursor", "text", "Cursor"]]],
    ["channels", "List channels with subscribers; on a large server use the Channels page.", [["pattern", "text", "Pattern, such as chat:*"]]],
  ]],
  ["Connections", [
    ["subscribe", "Subscribe a user's connections to a channel.", [channel, ...target, ["info", "json", "Channel info"], ["data", "json", "Data for the client"], ["expire_at", "number", "Expires at (Unix seconds)"], ["recover_since", "object", "Recover since"], ["override", "object", "Options to override"]]],
    ["unsubscribe", "Take a user's connections out of a channel.", [channel, ...target]],
    ["disconnect", "Close a user's connections.", [...target, ["whitelist", "list", "Spare these connections, one a line"], ["disconnect", "object", 'Code and reason, such as {"code": 4000, "reason": "…"}']]],
    ["refresh", "Move the expiry of a user's connections.", [...target, ["expired", "flag", "They have expired"], ["expire_at", "number", "Expires at (Unix seconds)"], ["info", "json", "Connection info"]]],
  ]],
  ["Maps", [
    ["map_publish", "Publish a key of a map.", [channel, ["key*", "text", "Key"], ["data*", "json", "Data"], ["tags", "object", "Tags"], ["idempotency_key", "text", "Idempotency key"]]],
    ["map_remove", "Remove a key of a map.", [channel, ["key*", "text", "Key"]]],
    ["map_read_state", "Read the keys of a map.", [channel, ["limit", "number", "Limit"], ["cursor", "text", "Cursor"], ["key", "text", "Only this key"]]],
    ["map_read_stream", "Read the changes of a map.", [channel, ["limit", "number", "Limit"], since, ["reverse", "flag", "Newest first"]]],
    ["map_stats", "Count the keys of a map.", [channel]],
    ["map_clear", "Remove all keys of a map.", [channel]],
    ["shared_poll_publish", "Publish a key that is polled.", [channel, ["key*", "text", "Key"], ["data*", "json", "Data"], ["version", "number", "Version"]]],
  ]],
  ["Server", [
    ["info", "List the nodes.", []],
    ["rpc", "Call an extension.", [["method*", "text", "Method"], ["params", "json", "Parameters"]]],
  ]],
];
